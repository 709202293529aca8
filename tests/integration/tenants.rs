//! Tenants in the running program: own files, own plugins, own secrets, own trouble.

mod isolation;
mod last_good;
mod secrets;

use crate::support::{
    host::{self, Host},
    root,
};
use std::path::Path;
use tempfile::TempDir;

/// The operator's part: everything happens fast, and each tenant is named by its table.
const OPERATOR: &str = r#"
[host]
retry-budget.min-per-second = 10000
[defaults]
interval = "200ms"
retry-interval = "100ms"
failure-threshold = 2
success-threshold = 1
[plugins.http]
grants.http = ["@settings.url"]
grants.networks = ["loopback"]
[plugins.file]
grants.directories = [{ path = "./alerts", access = "append" }]
"#;

/// A folder with what the operator wrote, and what tenants did.
struct World(TempDir);

impl World {
    fn new(tenants: &str) -> Self {
        let world = Self(TempDir::new().unwrap());
        world.write("pulse-host.toml", &format!("{OPERATOR}\n{tenants}"));
        world
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// The guest that does what its settings say, as a plugin of that tenant.
    fn give_chaos(&self, tenant: &str) {
        let folder = self.path().join("tenants").join(tenant).join("plugins/chaos");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::copy(
            root().join("tests/guests/chaos/plugin.toml"),
            folder.join("plugin.toml"),
        )
        .unwrap();
        let built = root().join("tests/guests/target/wasm32-wasip2/release/chaos.wasm");
        std::fs::copy(built, folder.join("chaos.wasm")).unwrap();
    }

    fn command(&self, args: &[&str]) -> std::process::Command {
        host::warm_up();
        let mut command = host::command();
        command
            .args(args)
            .arg("--plugins")
            .arg(host::plugins())
            .args(["--config", "pulse-host.toml"])
            .current_dir(self.path())
            .env("STATE_DIRECTORY", self.state())
            .env("RUST_LOG", "pulse_host=debug,plugin=debug,info");
        command
    }

    /// A data directory of its own, with the compiled components of all tests.
    fn state(&self) -> std::path::PathBuf {
        let own = self.path().join("state");
        if !own.exists() {
            std::fs::create_dir_all(&own).unwrap();
            host::copy_all(&host::state_directory(), &own);
        }
        own
    }

    /// What a command says, on both streams, and its exit code.
    fn say(&self, args: &[&str]) -> (i32, String) {
        let output = self.command(args).output().unwrap();
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        (output.status.code().unwrap(), text)
    }

    fn start(self) -> Host {
        let mut command = self.command(&["run"]);
        command.stdin(std::process::Stdio::null());
        Host::spawn(self.0, command)
    }
}
