//! Each case in `tests/config-ui` (a file, or a directory of files) beside what is said about it.

use super::*;

#[test]
fn golden_problems() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/config-ui");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir() || path.extension().is_some_and(|end| end == "toml"))
        .collect();
    cases.sort();
    let mut differences = String::new();
    for case in &cases {
        let mut findings = Findings::default();
        let sources = Sources::load(case, &mut findings);
        let mut facts = facts();
        let probe = Facts {
            name: "acme/probe".into(),
            ..facts["http"].clone()
        };
        facts.insert("acme/probe".to_owned(), probe);
        let draft = Draft::read(sources, findings, &surroundings());
        let (own, tenants) = match draft.finish_telling(&facts, Keep::Nothing, &mut Silent) {
            Ok(config) => (config.warnings, config.tenants),
            Err(unfit) => (unfit.problems, unfit.tenants),
        };
        let mut shown = own.to_string();
        for state in &tenants {
            let _ = write!(
                shown,
                "\n\n=== tenant {}: {}, {} monitors\n{}",
                state.tenant, state.standing, state.monitors, state.warnings
            );
            if let Standing::None { problems, why, .. } = &state.standing {
                let _ = write!(shown, "{problems}\n({why})");
            }
        }
        assert!(
            !shown.is_empty(),
            "{}: neither problem nor warning",
            case.display()
        );
        let root = root.display().to_string();
        let shown = format!("{shown}\n")
            .replace(&format!("{root}/"), "")
            .replace(&root, "DIRECTORY");
        let expected = case.with_extension("err");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&expected, &shown).unwrap();
        }
        let expected = std::fs::read_to_string(&expected).unwrap_or_default();
        if shown != expected {
            let _ = writeln!(
                differences,
                "{}:\n{shown}\ninstead of\n{expected}",
                case.display()
            );
        }
    }
    assert!(cases.len() >= 25, "only {} cases", cases.len());
    assert!(
        differences.is_empty(),
        "{differences}\nUPDATE_GOLDEN=1 rewrites them"
    );
}

#[test]
fn every_golden_problem_belongs_to_a_case() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/config-ui");
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "err") {
            assert!(
                path.with_extension("toml").exists() || path.with_extension("").is_dir(),
                "{} has no case",
                path.display()
            );
        }
    }
}
