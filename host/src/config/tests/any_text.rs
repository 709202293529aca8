//! No text makes it panic.

use super::*;
use proptest::prelude::*;

/// Text that is nearly a configuration: pieces of one, in any order.
fn soup() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "[defaults]\n",
        "[plugins.http]\n",
        "[plugins.\"\"]\n",
        "[[monitor]]\n",
        "[notifiers.n]\n",
        "[templates.t]\n",
        "[host]\n",
        "[[host.notify]]\n",
        "name = \"m\"\n",
        "name = \"\\u0000\"\n",
        "use = [\"t\", \"u\"]\n",
        "interval = \"1s\"\n",
        "interval = \"99999999999999999999s\"\n",
        "interval = -1\n",
        "timeout = 1e400\n",
        "pulse = { plugin = \"http\", settings = { url = \"http://a/\" } }\n",
        "pulse.settings.url = 5\n",
        "pulse.settings.json = [{ pointer = 1 }, nan]\n",
        "pulse.settings = 5\n",
        "pulse.plugin = \"${env:TOKEN}\"\n",
        "intervention.plugin = \"docker\"\n",
        "intervention.budget.per = \"0s\"\n",
        "notify = [\"n\"]\n",
        "name = \"m-{{id}}\"\n",
        "key = \"id\"\n",
        "targets = [{ id = 1, a = { b = \"{{id}}\" } }, { id = \"é\" }, {}, 5]\n",
        "targets = \"nowhere.csv\"\n",
        "targets = \".\"\n",
        "labels = { a = \"{{a.b}}\", c = \"{{\" }\n",
        "pulse = { plugin = \"http\", settings = { url = \"http://{{id}}/\", certificate-days = \"{{id}}\" } }\n",
        "intervention = { plugin = \"docker\", settings = { container = \"{{id}}{{{{\" } }\n",
        "labels.t = \"${env:TOKEN}{{${env:TOKEN}}}\"\n",
        "depends-on = [\"${env:TOKEN}\", { labels = { t = \"${env:TOKEN}\" } }]\n",
        "depends-on = [\"m-1\", \"m-{{id}}\", { labels = { a = \"b\" } }, {}, 7]\n",
        "notify-add = \"n\"\n",
        "labels = { a = \"b\", \"\" = \"\" }\n",
        "plugin = \"log\"\n",
        "colors = [\"rde\"]\n",
        "grants.http = [\"@settings.url\", \"@\", \"http://\", \"://\", \"http://[:::\", \"ftp://a\"]\n",
        "grants.tcp = [\"@settings.a:@\", \":\", \"[\", \"]\", \"]:1\", \"é:é\"]\n",
        "grants.networks = [\"x\"]\n",
        "grants.directories = [{}, 5, { path = \"\" }]\n",
        "grants.docker = {}\n",
        "limits = { fuel = 0, cpu = \"\" }\n",
        "tick = \"0s\"\n",
        "queues.pulse = { batch = { min = 9, max = 1 } }\n",
        "x = \"${\"\n",
        "x = 2026-13-01\n",
        "x = '''\n",
        "\u{feff}",
        "\r",
        "é",
        "\u{1b}",
        "= ",
        "]",
        "}",
        "\"",
        "#\n",
        "notifier = \"n\"\n",
        "workers = 0xffffffffffffffffff\n",
        "maxima.memory = \"0B\"\n",
    ];
    prop::collection::vec(prop::sample::select(PIECES), 0..25).prop_map(|pieces| pieces.concat())
}

/// A right configuration with some characters lost or doubled.
fn damaged() -> impl Strategy<Value = String> {
    let places = prop::collection::vec((any::<prop::sample::Index>(), any::<Option<char>>()), 1..6);
    places.prop_map(|places| {
        let mut text: Vec<char> = include_str!("../../../../pulse-host.toml").chars().collect();
        for (index, put) in places {
            let index = index.index(text.len());
            match put {
                Some(character) => text.insert(index, character),
                None => {
                    text.remove(index);
                }
            }
        }
        text.into_iter().collect()
    })
}

/// Found by the test below: a plugin's name may come from the environment by mistake.
#[test]
fn a_mistaken_name_is_quoted_as_it_was_written() {
    for text in [
        "[[monitor]]\nname = \"a\"\npulse.plugin = \"${env:TOKEN}\"\n",
        "[[monitor]]\nname = \"a\"\nuse = [\"${env:TOKEN}\"]\n",
        "[[monitor]]\nname = \"a\"\nnotify = [\"${env:TOKEN}\"]\npulse.plugin = \"http\"\n",
        "[[monitor]]\nname = \"a\"\ndepends-on = [\"${env:TOKEN}\"]\npulse = { plugin = \"http\", settings = { url = \"http://a.example\" } }\n",
    ] {
        let shown = draft(text).finish(&facts()).unwrap_err().to_string();
        assert!(
            shown.contains("`${env:TOKEN}`") && !shown.contains("s3cret"),
            "{shown}"
        );
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in prop_oneof![soup(), damaged(), ".{0,200}"]) {
        let shown = match draft(&text).finish(&facts()) {
            Ok(config) => config.warnings,
            Err(problems) => {
                prop_assert!(!problems.is_empty());
                problems
            }
        };
        let escapes = shown.to_string().contains('\u{1b}');
        prop_assert!(!escapes);
        prop_assert!(!shown.render(true).contains("s3cret"));
        prop_assert!(serde_json::to_string(&shown).is_ok());
    }
}
