//! What right configurations of tenants become, and what is theirs alone.

use super::*;
use crate::domain::{
    secret::{CLOSE, OPEN},
    spec::MonitorSpec,
    tenant::Quotas,
};
use tempfile::TempDir;

const TERMS: &str = r#"
[host]
data-dir = "data"
[plugins.http]
grants.http = ["@settings.url"]
grants.networks = ["public", "loopback"]
[plugins."acme/probe"]
grants.http = ["@settings.url"]
grants.networks = ["public"]
reuse = 7
[notifiers.ops]
plugin = "log"
[[monitor]]
name = "first"
pulse = { plugin = "http", settings = { url = "https://example.com" } }
[[monitor]]
name = "shop"
pulse = { plugin = "http", settings = { url = "https://example.com" } }
[tenants.acme]
config = "tenants/acme"
allowed-plugins = ["http", "log"]
shared-notifiers = ["ops"]
secrets.token = "${env:TOKEN}-of-acme"
quotas = { monitors = 10, in-flight = 4, cpu = "500ms", memory = "64MiB", connections = 5, commands = 2, requests-per-second = 6, bytes-per-second = "1MiB", codes-per-hour = 7 }
[tenants.acme.grants.http]
http = ["https://*.example.com"]
networks = ["public"]
[tenants.beta]
config = "tenants/beta.toml"
allowed-plugins = ["http"]
"#;

const ACME: &str = r#"
[notifiers.alerts]
plugin = "log"
[templates.t]
interval = "7s"
[[monitor]]
name = "router"
pulse = { plugin = "acme/probe", settings = { url = "https://example.com" } }
[[monitor]]
name = "shop"
use = ["t"]
notify = ["alerts", "ops"]
depends-on = ["router"]
pulse = { plugin = "http", settings = { url = "https://a.example.com", bearer = "${secret:token}" } }
[[monitor]]
name = "list-{{id}}"
targets = "list.csv"
pulse = { plugin = "http", settings = { url = "https://a.example.com/{{id}}", bearer = "x ${secret:token} {{id}}" } }
"#;

const BETA: &str = r#"
[[monitor]]
name = "shop"
pulse = { plugin = "http", settings = { url = "https://b.example.com" } }
"#;

/// A folder with the configuration of the operator, of acme and of beta.
pub(super) struct World(TempDir);

impl World {
    pub(super) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::create_dir_all(folder.path().join("tenants/acme")).unwrap();
        let world = Self(folder);
        world.write("pulse-host.toml", TERMS);
        world.write("tenants/acme/acme.toml", ACME);
        world.write("tenants/acme/list.csv", "id\n1\n2\n");
        world.write("tenants/beta.toml", BETA);
        world
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    pub(super) fn write(&self, path: &str, text: &str) {
        std::fs::write(self.0.path().join(path), text).unwrap();
    }

    pub(super) fn load(&self, keep: Keep) -> Config {
        match self.load_beside(keep, Filed::default()) {
            Ok(config) => config,
            Err(unfit) => panic!("{}", unfit.problems),
        }
    }

    /// Beside these documents of the API.
    pub(super) fn load_beside(&self, keep: Keep, filed: Filed) -> Result<Config, Unfit> {
        let mut findings = Findings::default();
        let sources = Sources::load(&self.0.path().join("pulse-host.toml"), &mut findings);
        let mut facts = facts();
        let probe = Facts {
            name: "acme/probe".into(),
            ..facts["http"].clone()
        };
        facts.insert("acme/probe".to_owned(), probe);
        let mut draft = Draft::read(sources, findings, &surroundings());
        draft.file(filed);
        draft.finish_telling(&facts, keep, &mut Silent)
    }
}

pub(super) fn monitors(config: &Config) -> Vec<String> {
    let shown = |spec: &MonitorSpec| format!("{}/{}", spec.tenant, spec.name());
    config.monitors.iter().map(shown).collect()
}

#[track_caller]
pub(super) fn monitor<'c>(config: &'c Config, tenant: &str, name: &str) -> &'c MonitorSpec {
    let of = |spec: &&MonitorSpec| &*spec.tenant.name == tenant && spec.name() == name;
    config.monitors.iter().find(of).unwrap()
}

#[test]
fn a_tenants_monitors_are_its_own() {
    let world = World::new();
    let config = world.load(Keep::Nothing);
    assert_eq!(
        monitors(&config),
        [
            "default/first",
            "default/shop",
            "acme/router",
            "acme/shop",
            "acme/list-1",
            "acme/list-2",
            "beta/shop"
        ]
    );
    let acme = monitor(&config, "acme", "shop");
    assert_eq!(
        acme.tenant.quotas,
        Quotas {
            monitors: Some(10),
            in_flight: Some(4),
            cpu_per_second: Some(Duration::from_millis(500)),
            memory_bytes: Some(64 << 20),
            connections: Some(5),
            commands: Some(2),
            requests_per_second: Some(6),
            bytes_per_second: Some(1 << 20),
            codes_per_hour: Some(7),
        }
    );
    assert_eq!(acme.policy.interval, Duration::from_secs(7));
    let sinks: Vec<&str> = acme.sinks.iter().map(|sink| &*sink.name).collect();
    assert_eq!(sinks, ["alerts", "ops"]);
    // The places of parents are those in the list of all.
    assert_eq!(*acme.parents, [2]);
    let own = monitor(&config, "acme", "router").pulse.as_ref().unwrap();
    assert_eq!((&*own.profile.plugin, own.profile.reuse), ("acme/probe", 7));
    // The same words in two configurations are two things.
    let (mine, theirs) = (
        monitor(&config, "default", "shop"),
        monitor(&config, "beta", "shop"),
    );
    let profile = |spec: &MonitorSpec| Arc::clone(&spec.pulse.as_ref().unwrap().profile);
    assert!(!Arc::ptr_eq(&profile(mine), &profile(theirs)));
    let standing: Vec<String> = config
        .tenants
        .iter()
        .map(|state| state.standing.to_string())
        .collect();
    assert_eq!(standing, ["present", "present"]);
    assert_eq!(config.tenants[0].plugins, ["acme/probe", "http", "log"]);
    assert!(!world.0.path().join("data").exists(), "nothing was to be kept");
}

#[test]
fn a_plugins_grants_are_narrower_for_a_tenant() {
    let config = World::new().load(Keep::Nothing);
    let grants = |tenant, name| {
        let spec = monitor(&config, tenant, name);
        Arc::clone(&spec.pulse.as_ref().unwrap().profile.grants)
    };
    let acme = grants("acme", "shop");
    assert_eq!(acme.http, [HttpGrant::Settings(vec!["url".to_owned()])]);
    assert_eq!(acme.http_within.as_ref().map(Vec::len), Some(1));
    assert!(acme.networks.contains(Network::Public) && !acme.networks.contains(Network::Loopback));
    let beta = grants("beta", "shop");
    assert_eq!(beta.http_within, None);
    assert!(beta.networks.contains(Network::Loopback));
}

#[test]
fn secrets_are_names_until_they_are_used() {
    let config = World::new().load(Keep::Nothing);
    let settings = |name| {
        let spec = monitor(&config, "acme", name);
        spec.assignment(Kind::Pulse, 0).unwrap().settings.to_owned()
    };
    let shop = settings("shop");
    assert!(shop.contains(&format!("{OPEN}token{CLOSE}")), "{shop}");
    let row = settings("list-2");
    let secrets = &monitor(&config, "acme", "shop").tenant.secrets;
    let filled: Value = serde_json::from_str(&secrets.fill_json(&row)).unwrap();
    assert_eq!(filled["bearer"], "x s3cret-of-acme 2");
    // Nothing that shows a whole monitor, or all of them, has the value.
    let shown = format!("{:?} {:?}", config.monitors, config.tenants);
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[test]
fn the_value_of_a_secret_is_what_a_schema_is_held_against() {
    let world = World::new();
    // At least four characters: the name has more, and the value too.
    world.write(
        "tenants/acme/acme.toml",
        "[[monitor]]\nname = \"a\"\npulse = { plugin = \"http\", settings = { url = \"https://a\", method = \"${secret:token}\" } }\n\
         [[monitor]]\nname = \"b-{{id}}\"\ntargets = [{ id = 1 }]\npulse = { plugin = \"http\", settings = { url = \"https://a/{{id}}\", max-latency = \"${secret:token}{{id}}\" } }\n",
    );
    let config = world.load(Keep::Nothing);
    let Standing::None { problems, .. } = &config.tenants[0].standing else {
        panic!("{:?}", config.tenants[0].standing);
    };
    let shown = problems.to_string();
    assert_eq!(problems.len(), 2, "{shown}");
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[test]
fn what_is_wrong_with_one_costs_nobody_else_anything() {
    let world = World::new();
    world.write("tenants/acme/acme.toml", "[[monitor]]\nnaem = \"x\"\n");
    let config = world.load(Keep::Good);
    assert_eq!(monitors(&config), ["default/first", "default/shop", "beta/shop"]);
    assert_eq!(config.tenants[0].standing.to_string(), "none");
    assert_eq!(config.tenants[0].standing.problems().unwrap().len(), 3);
    assert_eq!(config.tenants[1].standing.to_string(), "present");
}

/// Whoever copies the example out of the page has something that starts.
#[test]
fn the_example_of_the_page_is_right() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tenants.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks: Vec<&str> = page
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    let [operator, acme] = blocks[..] else {
        panic!("{} blocks", blocks.len());
    };
    assert!(acme.starts_with("# tenants/acme/shops.toml\n"));
    let world = World(TempDir::new().unwrap());
    std::fs::create_dir_all(world.0.path().join("tenants/acme/plugins")).unwrap();
    world.write("pulse-host.toml", operator);
    world.write("on-call-url", "https://on-call.example/\n");
    world.write("tenants/acme/shops.toml", acme);
    world.write("tenants/acme/shops.csv", "id,host\n1,one.acme.example\n");
    let config = world.load(Keep::Nothing);
    let state = &config.tenants[0];
    assert_eq!(state.standing.problems().map(ToString::to_string), None);
    assert_eq!(
        (config.warnings.to_string(), state.warnings.to_string()),
        (String::new(), String::new())
    );
    assert_eq!(monitors(&config), ["acme/shop-1", "acme/depot"]);
}

#[test]
fn lists_and_monitors_of_a_tenant_are_bounded_where_no_quota_says_so() {
    let world = World::new();
    world.write("pulse-host.toml", &TERMS.replace("monitors = 10, ", ""));
    let said = || {
        let config = world.load(Keep::Nothing);
        config.tenants[0].standing.problems().map(ToString::to_string)
    };
    let table = |number: usize| {
        format!(
            "[[monitor]]\nname = \"m-{number}-{{{{id}}}}\"\ntargets = \"list-{number}.csv\"\n\
             pulse = {{ plugin = \"http\", settings = {{ url = \"https://a\" }} }}\n"
        )
    };
    let tables: String = (0..=1_000).map(table).collect();
    world.write("tenants/acme/acme.toml", &tables);
    let problems = said().unwrap();
    assert!(problems.contains("more than 1000 lists of targets"), "{problems}");
    world.write("tenants/acme/acme.toml", &table(0));
    let rows: String = (0..=1_000_000).map(|row| format!("{row}\n")).collect();
    world.write("tenants/acme/list-0.csv", &format!("id\n{rows}"));
    let problems = said().unwrap();
    assert!(
        problems.contains("more than 1000000 monitors; the tenant `acme` needs `quotas.monitors`"),
        "{problems}"
    );
}

/// A name is a few bytes, and a value may be many: what a plugin is handed is bounded with the values.
#[test]
fn settings_that_secrets_blow_up_are_refused_before_they_are_made() {
    let world = World::new();
    let many = "${secret:token}".repeat(200_000);
    for (name, monitor) in [
        (
            "static",
            format!(
                "pulse = {{ plugin = \"http\", settings = {{ url = \"https://a\", bearer = \"{many}\" }} }}\n"
            ),
        ),
        (
            "of rows",
            format!(
                "targets = [{{ id = 1 }}]\npulse = {{ plugin = \"http\", settings = {{ url = \"https://a/{{{{id}}}}\", bearer = \"{many}{{{{id}}}}\" }} }}\n"
            ),
        ),
        (
            "beside rows",
            format!(
                "targets = [{{ id = 1 }}]\npulse = {{ plugin = \"http\", settings = {{ url = \"https://a/{{{{id}}}}\", bearer = \"{many}\" }} }}\n"
            ),
        ),
    ] {
        let text = format!("[[monitor]]\nname = \"m{{{{id}}}}\"\n{monitor}");
        let text = if name == "static" {
            text.replacen("{{id}}", "", 1)
        } else {
            text
        };
        world.write("tenants/acme/acme.toml", &text);
        let config = world.load(Keep::Nothing);
        let problems = config.tenants[0].standing.problems().unwrap();
        let shown = problems.to_string();
        assert_eq!(
            problems.len(),
            1,
            "{name}: {}",
            shown.chars().take(2_000).collect::<String>()
        );
        assert!(shown.contains("at most 65536 are allowed"), "{name}");
        assert!(!shown.contains("s3cret"), "{name}");
    }
}

/// What a tenant can make true is never an error of all.
#[test]
fn a_link_in_a_tenants_folder_is_its_own_trouble() {
    let world = World::new();
    let path = |path: &str| world.0.path().join(path);
    let terms = TERMS.replace(
        "config = \"tenants/acme\"\n",
        "config = \"tenants/acme\"\nplugins = \"tenants/acme/plugins\"\n",
    );
    let terms = format!("{terms}plugins = \"tenants/beta-plugins\"\n");
    world.write("pulse-host.toml", &terms);
    for folder in ["tenants/beta-plugins", "data", "tenants/acme/other"] {
        std::fs::create_dir_all(path(folder)).unwrap();
    }
    let link = path("tenants/acme/plugins");
    let folders = || {
        let draft = Draft::load(&path("pulse-host.toml"));
        let folders = draft.tenant_plugins().map(|(name, ..)| name.to_string());
        folders.collect::<Vec<String>>()
    };
    for target in ["../beta-plugins", "../../data", "../..", "/", "/etc"] {
        std::os::unix::fs::symlink(target, &link).unwrap();
        let config = world.load(Keep::Nothing);
        let warned = config.warnings.to_string();
        assert!(
            warned.contains("the plugins of the tenant `acme` are not used"),
            "{target}: {warned}"
        );
        assert_eq!(folders(), ["beta"], "{target}");
        assert_eq!(monitor(&config, "beta", "shop").name(), "shop");
        std::fs::remove_file(&link).unwrap();
    }
    for target in ["other", "nowhere"] {
        std::os::unix::fs::symlink(target, &link).unwrap();
        let warned = world.load(Keep::Nothing).warnings.to_string();
        assert!(!warned.contains("are not used"), "{target}: {warned}");
        assert_eq!(folders(), ["acme", "beta"], "{target}");
        std::fs::remove_file(&link).unwrap();
    }
}

#[test]
fn other_settings_of_a_tenants_plugin_are_its_own_trouble() {
    let world = World::new();
    let terms = TERMS.replace(
        "[plugins.\"acme/probe\"]\ngrants.http = [\"@settings.url\"]",
        "[plugins.\"acme/probe\"]\ngrants.http = [\"@settings.uri\"]",
    );
    assert_ne!(terms, TERMS);
    world.write("pulse-host.toml", &terms);
    let config = world.load(Keep::Nothing);
    let warned = config.warnings.to_string();
    assert!(warned.contains("`acme/probe` has no setting `uri`"), "{warned}");
    assert_eq!(monitor(&config, "beta", "shop").name(), "shop");
}

#[test]
fn the_last_good_files_go_on_with_their_lists() {
    let world = World::new();
    let good = monitors(&world.load(Keep::Good));
    world.write("tenants/acme/list.csv", "id\n1\n1\n");
    let config = world.load(Keep::Good);
    assert!(matches!(config.tenants[0].standing, Standing::LastGood { .. }));
    assert_eq!(monitors(&config), good);
    std::fs::remove_dir_all(world.0.path().join("tenants/acme")).unwrap();
    assert_eq!(monitors(&world.load(Keep::Good)), good, "also without the folder");
    std::fs::remove_file(world.0.path().join("tenants/beta.toml")).unwrap();
    assert_eq!(
        monitors(&world.load(Keep::Nothing)),
        good,
        "also without the file"
    );

    // The terms are those of today.
    let terms = TERMS.replace("monitors = 10", "monitors = 3");
    world.write("pulse-host.toml", &terms);
    let config = world.load(Keep::Good);
    let Standing::None { why, stale, .. } = &config.tenants[0].standing else {
        panic!("{:?}", config.tenants[0].standing);
    };
    assert!(why.contains("does not fit"), "{why}");
    assert!(
        stale.as_ref().unwrap().to_string().contains("which is the quota"),
        "{stale:?}"
    );

    // And a good one is the last good one from then on.
    std::fs::create_dir_all(world.0.path().join("tenants/acme")).unwrap();
    world.write("tenants/acme/acme.toml", BETA);
    assert_eq!(world.load(Keep::Good).tenants[0].standing.to_string(), "present");
    world.write("tenants/acme/acme.toml", "?");
    let config = world.load(Keep::Good);
    assert_eq!(config.tenants[0].standing.to_string(), "last good");
    assert_eq!(config.tenants[0].monitors, 1);
}

#[test]
fn that_nothing_can_be_kept_is_said_and_no_error() {
    let world = World::new();
    world.write("data", "a file in the place of the directory");
    let config = world.load(Keep::Good);
    assert_eq!(config.tenants[0].standing.to_string(), "present");
    assert_eq!(config.tenants[0].monitors, 4);
    assert!(config.tenants[0].unkept.is_some());
}

#[test]
fn settings_that_rows_blow_up_are_bounded() {
    let world = World::new();
    let padding = "x".repeat(60_000);
    world.write(
        "tenants/acme/acme.toml",
        &format!(
            "[[monitor]]\nname = \"m-{{{{id}}}}\"\ntargets = \"list.csv\"\npulse = {{ plugin = \"http\", settings = {{ url = \"https://a/{{{{id}}}}\", headers = {{ a = \"{padding}\" }} }} }}\n"
        ),
    );
    let rows: String = (0..6_000).map(|row| format!("{row}\n")).collect();
    world.write("tenants/acme/list.csv", &format!("id\n{rows}"));
    world.write("pulse-host.toml", &TERMS.replace("monitors = 10, ", ""));
    let config = world.load(Keep::Nothing);
    let shown = config.tenants[0].standing.problems().unwrap().to_string();
    assert!(shown.contains("take too much memory"), "{shown}");
}

/// What a tenant has probed is what it could have checked.
#[test]
fn a_tenant_has_the_plugins_that_it_may_use_probed_as_they_are_granted_to_it() {
    let world = World::new();
    let config = world.load(Keep::Nothing);
    let [acme, beta] = config.tenants.as_slice() else {
        panic!("{} tenants", config.tenants.len());
    };
    let names = |state: &TenantState| state.modules.keys().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        (names(acme), names(beta)),
        (vec!["acme/probe".into(), "http".into()], vec!["http".into()])
    );
    let of = |tenant: &str| {
        let spec = monitor(&config, tenant, "shop");
        Arc::clone(&spec.pulse.as_ref().unwrap().profile)
    };
    assert_eq!(acme.modules["http"].profile, of("acme"));
    assert_eq!(beta.modules["http"].profile, of("beta"));
    assert_ne!(
        acme.modules["http"].profile.grants,
        beta.modules["http"].profile.grants
    );
    assert_eq!(acme.modules["acme/probe"].profile.reuse, 7);
    assert!(!config.modules.contains_key("acme/probe"));
}
