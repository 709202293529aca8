//! Two versions of the interface in one host, side by side.

use crate::{
    cases::Scene,
    clock::Clock,
    domain::{
        host::{CompilerSettings, Scarcities},
        outcome::{Answer, Outcome, Report, Status},
        spec::Kind,
        time::Mono,
    },
    plugins::{self, Found},
    sandbox::{Compiler, Executor, Library, Sandbox, SandboxSettings},
};
use std::{num::NonZeroUsize, path::Path, sync::Arc};

fn guest(name: &str) -> Found {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/guests/target/wasm32-wasip2/release")
        .join(name)
        .with_extension("wasm");
    assert!(
        path.is_file(),
        "{} is missing: cargo xtask plugins",
        path.display()
    );
    plugins::read(&path).unwrap()
}

fn report(outcome: Outcome) -> Report {
    match outcome {
        Outcome::Answer(Answer::Pulse(report)) => report,
        other => panic!("{other:?}"),
    }
}

#[test]
fn plugins_of_two_versions_run_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let settings = SandboxSettings {
        engines: NonZeroUsize::MIN,
        slots: 4,
        max_memory_bytes: 64 << 20,
        data_dir: folder.path().to_owned(),
        compiler: Compiler::InProcess,
        compiling: CompilerSettings::default(),
        scarce: Scarcities::default(),
    };
    let sandbox = Sandbox::new(settings, Clock::system()).unwrap();
    let (library, problems) = Library::load(&sandbox, vec![guest("noop"), guest("next")]);
    assert!(problems.is_empty(), "{problems:?}");
    let versions: Vec<(&str, &str)> = library
        .iter()
        .map(|plugin| (&*plugin.facts.name, plugin.abi()))
        .collect();
    assert_eq!(versions, [("next", "0.2.0"), ("noop", "0.1.0")]);

    let jobs: Vec<_> = ["next", "noop", "next", "noop"]
        .into_iter()
        .map(|name| {
            let scene = Scene::new(Kind::Pulse, "{\"a\":1}".to_owned());
            scene.job(&library.named(name).unwrap().facts, Mono(0))
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let executor = Executor::new(sandbox, Arc::new(library));
    let mut results = Vec::new();
    for job in jobs {
        results.push(runtime.block_on(executor.execute_keeping_log(job)));
    }

    for (result, log) in results.iter().step_by(2) {
        let report = report(result.outcome.clone());
        assert_eq!(report.status, Status::Unhealthy);
        assert_eq!(report.reason.as_deref(), Some("first"));
        assert_eq!(report.summary, "settings {\"a\":1}, second");
        assert_eq!(log.len(), 1, "lent by the older version of pulse:host");
        assert_eq!(log[0].message, "next looks at shop");
    }
    for (result, log) in results.iter().skip(1).step_by(2) {
        assert_eq!(report(result.outcome.clone()).status, Status::Healthy);
        assert!(log.is_empty());
    }
}
