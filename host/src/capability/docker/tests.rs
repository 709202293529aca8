use super::*;
use crate::capability::testing::{self, Bench, bench, read_head};
use crate::domain::time::Mono;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};
use tokio::{
    io::AsyncWriteExt,
    net::{UnixListener, UnixStream},
};

/// What an engine of the tests does with a request.
#[derive(Clone)]
enum Reply {
    Say(u16, &'static str),
    /// Closes without an answer.
    Close,
    /// Never answers.
    Stall,
}

struct FakeEngine {
    directory: tempfile::TempDir,
    asked: Arc<Mutex<Vec<String>>>,
}

impl FakeEngine {
    /// Serves the Engine API on a socket in a directory of its own. `replies` are by method and path; what is not
    /// among them is 404.
    fn start(replies: Vec<(&'static str, Reply)>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("docker.sock")).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Self::serve(stream, replies.clone(), Arc::clone(&log)));
            }
        });
        Self { directory, asked }
    }

    async fn serve(
        mut stream: UnixStream,
        replies: Vec<(&'static str, Reply)>,
        log: Arc<Mutex<Vec<String>>>,
    ) {
        loop {
            let head = read_head(&mut stream).await;
            let Some((line, _)) = head.split_once(" HTTP/1.1\r\n") else {
                return;
            };
            log.lock().unwrap().push(line.to_owned());
            let reply = replies
                .iter()
                .find(|(key, _)| *key == line)
                .map(|(_, reply)| reply.clone());
            let (status, body) = match reply {
                Some(Reply::Say(status, body)) => (status, body),
                None if line == "GET /_ping" => (200, "OK"),
                None => (404, r#"{"message":"No such container: x"}"#),
                Some(Reply::Close) => return,
                Some(Reply::Stall) => std::future::pending().await,
            };
            let length = if status == 204 || status == 304 {
                String::new()
            } else {
                format!("Content-Length: {}\r\n", body.len())
            };
            let answer = format!("HTTP/1.1 {status} X\r\nApi-Version: 1.47\r\n{length}\r\n{body}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    fn lease(&self, containers: &[&str]) -> Lease {
        self.maker(containers).done()
    }

    fn maker(&self, containers: &[&str]) -> testing::LeaseMaker {
        testing::lease().docker(grant(containers, self.directory.path().join("docker.sock")))
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn grant(containers: &[&str], socket: PathBuf) -> DockerGrant {
    DockerGrant {
        containers: containers.iter().map(|name| (*name).to_owned()).collect(),
        socket,
    }
}

const RESTART: &str = "POST /v1.47/containers/web-1/restart?t=3";

async fn restart(bench: &Bench, lease: &Lease) -> Result<(), Failure> {
    bench.lender.docker_restart(lease, "web-1", 3).await
}

#[tokio::test]
async fn a_restart_is_asked_for_once_in_the_engines_own_version() {
    let engine = FakeEngine::start(vec![(RESTART, Reply::Say(204, ""))]);
    let lease = engine.lease(&["web-*"]);
    restart(&bench(), &lease).await.unwrap();
    assert_eq!(engine.asked(), ["GET /_ping", RESTART]);
    assert!(!lease.waiting.on_target(Mono(0)));
}

#[tokio::test]
async fn what_is_so_already_is_no_error() {
    let engine = FakeEngine::start(vec![
        ("POST /v1.47/containers/web-1/start", Reply::Say(304, "")),
        ("POST /v1.47/containers/web-1/stop?t=3600", Reply::Say(304, "")),
    ]);
    let lease = engine.lease(&["web-1"]);
    bench().lender.docker_start(&lease, "web-1").await.unwrap();
    bench()
        .lender
        .docker_stop(&lease, "web-1", u32::MAX)
        .await
        .unwrap();
}

#[tokio::test]
async fn what_the_engine_says_is_passed_on() {
    for (status, body, expected) in [
        (
            404,
            r#"{"message":"No such container: web-1"}"#,
            Error::NotFound("No such container: web-1".into()),
        ),
        (
            404,
            "not JSON",
            Error::NotFound("no such container: web-1".into()),
        ),
        (
            409,
            r#"{"message":"is paused\n"}"#,
            Error::Rejected("the engine answered 409: is paused\\n".into()),
        ),
        (400, "", Error::Rejected("the engine answered 400".into())),
        (
            500,
            r#"{"message":"x"}"#,
            Error::Unavailable("the engine answered 500: x".into()),
        ),
        (503, "", Error::Unavailable("the engine answered 503".into())),
    ] {
        let engine = FakeEngine::start(vec![(RESTART, Reply::Say(status, body))]);
        let failure = restart(&bench(), &engine.lease(&["*"])).await.unwrap_err();
        assert_eq!(failure, expected.into());
    }
}

/// A lease for any container, whose job ends that soon.
fn ending(engine: &FakeEngine, timeout_ms: u32) -> Lease {
    let ends = Mono(0).after(std::time::Duration::from_millis(timeout_ms.into()));
    engine.maker(&["*"]).ends(ends).done()
}

#[tokio::test]
async fn no_answer_to_a_change_is_an_unknown_effect() {
    for reply in [Reply::Close, Reply::Stall] {
        let engine = FakeEngine::start(vec![(RESTART, reply)]);
        let failure = testing::patiently(async |timeout_ms| {
            let failure = restart(&bench(), &ending(&engine, timeout_ms)).await.unwrap_err();
            matches!(failure.error, Error::EffectUnknown(_)).then_some(failure)
        })
        .await;
        assert_eq!(failure.taint, None, "a tainted repair could be repeated");
        assert_eq!(engine.asked().last().unwrap(), RESTART);
    }
}

#[tokio::test]
async fn no_answer_to_the_ping_means_that_nothing_happened() {
    for reply in [Reply::Close, Reply::Stall, Reply::Say(500, "")] {
        let engine = FakeEngine::start(vec![("GET /_ping", reply)]);
        let failure = testing::patiently(async |timeout_ms| {
            let failure = restart(&bench(), &ending(&engine, timeout_ms)).await.unwrap_err();
            (!engine.asked().is_empty()).then_some(failure)
        })
        .await;
        assert!(matches!(failure.error, Error::Unavailable(_)), "{failure:?}");
        assert!(engine.asked().iter().all(|line| line == "GET /_ping"));
    }
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_unavailable() {
    let directory = tempfile::tempdir().unwrap();
    let lease = testing::lease()
        .docker(grant(&["*"], directory.path().join("none.sock")))
        .done();
    let failure = restart(&bench(), &lease).await.unwrap_err();
    assert!(matches!(failure.error, Error::Unavailable(_)));
    assert_eq!(failure.taint, None);
}

#[tokio::test]
async fn only_granted_containers() {
    let engine = FakeEngine::start(vec![]);
    let denied = restart(&bench(), &engine.lease(&["db-*", "cache"]))
        .await
        .unwrap_err();
    let Some(Taint::Denied(denial)) = denied.taint else {
        panic!("no taint: {denied:?}");
    };
    assert_eq!((denial.capability, denial.wanted.as_str()), ("docker", "web-1"));
    let socket = engine.directory.path().join("docker.sock");
    assert_eq!(
        denial.grant,
        format!(
            "[plugins.test] grants.docker = {{ containers = [\"db-*\", \"cache\", \"web-1\"], socket = \"{}\" }}",
            socket.display()
        )
    );
    let none = restart(&bench(), &testing::lease().done()).await.unwrap_err();
    assert!(matches!(none.taint, Some(Taint::Denied(_))));
    assert!(engine.asked().is_empty());
}

#[tokio::test]
async fn malformed_names_reach_nobody() {
    let engine = FakeEngine::start(vec![]);
    let lease = engine.lease(&["*"]);
    for name in [
        "",
        "..",
        "../info",
        "web-1/exec",
        "web-1?t=1",
        "web 1",
        "web-1%2f",
        "web-1\r\nX: y",
        "-a",
    ] {
        let failure = bench().lender.docker_start(&lease, name).await.unwrap_err();
        assert!(matches!(failure.error, Error::NotFound(_)), "{name:?}");
        assert_eq!(failure.taint, None);
    }
    assert!(engine.asked().is_empty());
}

const RUNNING: &str = r#"{"Id":"cafe0123","Name":"/web-1","Created":"x","Config":{"Image":"nginx:1"},
    "State":{"Status":"running","ExitCode":0,"Health":{"Status":"unhealthy","Log":[]}}}"#;

#[tokio::test]
async fn inspecting() {
    let engine = FakeEngine::start(vec![
        ("GET /v1.47/containers/web-1/json", Reply::Say(200, RUNNING)),
        (
            "GET /v1.47/containers/old/json",
            Reply::Say(
                200,
                r#"{"Id":"1","Name":"/old","Config":{"Image":"i"},"State":{"Status":"exited","ExitCode":137}}"#,
            ),
        ),
        ("GET /v1.47/containers/odd/json", Reply::Say(200, "[]")),
    ]);
    let lease = engine.lease(&["*"]);
    let bench = bench();
    assert_eq!(
        bench.lender.docker_inspect(&lease, "web-1").await.unwrap(),
        Container {
            id: "cafe0123".into(),
            name: "web-1".into(),
            image: "nginx:1".into(),
            state: "running".into(),
            exit_code: 0,
            health: Some("unhealthy".into()),
        }
    );
    let old = bench.lender.docker_inspect(&lease, "old").await.unwrap();
    assert_eq!((old.exit_code, old.health), (137, None));
    let odd = bench.lender.docker_inspect(&lease, "odd").await.unwrap_err();
    assert!(matches!(odd.error, Error::Unavailable(_)));
    let gone = bench.lender.docker_inspect(&lease, "gone").await.unwrap_err();
    assert!(matches!(gone.error, Error::NotFound(_)));
}

/// The engine takes the beginning of an id for a name; a grant is about names.
#[tokio::test]
async fn an_id_is_no_name() {
    let engine = FakeEngine::start(vec![
        ("GET /v1.47/containers/cafe/json", Reply::Say(200, RUNNING)),
        ("POST /v1.47/containers/cafe/start", Reply::Say(204, "")),
    ]);
    let lease = engine.lease(&["*"]);
    let failure = bench().lender.docker_start(&lease, "cafe").await.unwrap_err();
    assert!(matches!(failure.error, Error::NotFound(_)), "{failure:?}");
    assert_eq!(engine.asked(), ["GET /_ping", "GET /v1.47/containers/cafe/json"]);
}
