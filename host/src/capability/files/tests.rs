use super::*;
use crate::capability::testing::{self, Bench, bench};
use std::{
    collections::HashMap,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

async fn append(bench: &Bench, lease: &Lease, path: &str, line: &str) -> Result<(), Failure> {
    bench.lender.append_line(lease, path, line).await
}

#[tokio::test]
async fn lines_follow_each_other() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("alerts");
    let lease = testing::lease().directories([directory.clone()]).done();
    let bench = bench();
    append(&bench, &lease, "a.ndjson", "one").await.unwrap();
    append(&bench, &lease, "a.ndjson", "").await.unwrap();
    append(&bench, &lease, "a.ndjson", "zwö").await.unwrap();
    assert_eq!(
        fs::read_to_string(directory.join("a.ndjson")).unwrap(),
        "one\n\nzwö\n"
    );
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o007;
    assert_eq!(mode(&directory), 0, "nothing for others");
    assert_eq!(mode(&directory.join("a.ndjson")), 0, "nothing for others");
}

#[tokio::test]
async fn without_a_grant_nothing_is_written() {
    let failure = append(&bench(), &testing::lease().done(), "a", "x")
        .await
        .unwrap_err();
    let Some(Taint::Denied(denial)) = failure.taint else {
        panic!("no taint");
    };
    assert_eq!(
        denial.grant,
        "[plugins.test] grants.directories = [{ path = \"./test\", access = \"append\" }]"
    );
}

#[tokio::test]
async fn lines_and_paths_are_checked() {
    let root = tempfile::tempdir().unwrap();
    let lease = testing::lease().directories([root.path().to_owned()]).done();
    for path in ["../a", "/tmp/a", "", "a/../../b", ".", "a\0"] {
        let failure = append(&bench(), &lease, path, "x").await.unwrap_err();
        assert!(matches!(failure.error, Error::InvalidPath(_)), "{path:?}");
        assert_eq!(failure.taint, None);
    }
    let long = "x".repeat(LINE_BYTES_MAX + 1);
    for line in ["a\nb", "\n", &long] {
        let failure = append(&bench(), &lease, "a", line).await.unwrap_err();
        assert!(matches!(failure.error, Error::InvalidLine(_)));
    }
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    append(&bench(), &lease, "a", &long[1..]).await.unwrap();
}

#[tokio::test]
async fn only_regular_files_and_no_links() {
    let root = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    fs::write(outside.path().join("secret"), "s").unwrap();
    symlink(outside.path().join("secret"), at("link")).unwrap();
    symlink(outside.path(), at("way-out")).unwrap();
    fs::create_dir(at("directory")).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    // A pipe that somebody reads can be opened, and is no file all the same.
    rustix::fs::mknodat(rustix::fs::CWD, at("read-pipe"), fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let _reader =
        rustix::fs::open(at("read-pipe"), OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap();
    let lease = testing::lease().directories([root.path().to_owned()]).done();
    for path in [
        "link",
        "way-out/secret",
        "way-out/new",
        "directory",
        "pipe",
        "read-pipe",
    ] {
        let failure = append(&bench(), &lease, path, "x").await.unwrap_err();
        assert!(
            matches!(failure.error, Error::InvalidPath(_)),
            "{path}: {failure:?}"
        );
    }
    assert_eq!(fs::read_to_string(outside.path().join("secret")).unwrap(), "s");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    let missing = append(&bench(), &lease, "none/a", "x").await.unwrap_err();
    assert!(matches!(missing.error, Error::Io(_)));
    assert_eq!(missing.taint, None);
}

#[tokio::test]
async fn the_directory_that_has_the_place_takes_the_line() {
    let root = tempfile::tempdir().unwrap();
    let (first, second) = (root.path().join("first"), root.path().join("second"));
    fs::create_dir_all(second.join("sub")).unwrap();
    let lease = testing::lease()
        .directories([first.clone(), second.clone()])
        .done();
    append(&bench(), &lease, "a", "x").await.unwrap();
    append(&bench(), &lease, "sub/a", "y").await.unwrap();
    assert_eq!(fs::read_to_string(first.join("a")).unwrap(), "x\n");
    assert_eq!(fs::read_to_string(second.join("sub/a")).unwrap(), "y\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lines_of_concurrent_jobs_do_not_mix() {
    const WRITERS: usize = 16;
    const LINES: usize = 40;
    let root = tempfile::tempdir().unwrap();
    // Two ways to the same file: the lock is the file's, not the path's.
    fs::create_dir(root.path().join("sub")).unwrap();
    let outer = Arc::new(testing::lease().directories([root.path().to_owned()]).done());
    let inner = Arc::new(testing::lease().directories([root.path().join("sub")]).done());
    let bench = Arc::new(bench());
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let bench = Arc::clone(&bench);
        let (lease, path) = match writer % 2 {
            0 => (Arc::clone(&outer), "sub/log"),
            _ => (Arc::clone(&inner), "log"),
        };
        writers.spawn(async move {
            let line = format!("{writer:02}").repeat(LINE_BYTES_MAX / 8);
            for _ in 0..LINES {
                append(&bench, &lease, path, &line).await.unwrap();
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    let text = fs::read_to_string(root.path().join("sub/log")).unwrap();
    let mut counts = HashMap::new();
    for line in text.lines() {
        assert_eq!(line.len(), LINE_BYTES_MAX / 4);
        let writer = &line[..2];
        assert_eq!(line, writer.repeat(LINE_BYTES_MAX / 8));
        *counts.entry(writer.to_owned()).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), WRITERS);
    assert!(counts.values().all(|count| *count == LINES));
}

#[test]
fn a_line_that_does_not_fit_is_taken_back() {
    // A file size limit is the process's; /dev/full refuses the first byte. Half a write needs a full file system,
    // so the part that takes it back is tried by itself.
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    fs::write(&path, "whole\nhal").unwrap();
    let file: OwnedFd = fs::OpenOptions::new().append(true).open(&path).unwrap().into();
    let error = take_back(&file, 6, io::ErrorKind::StorageFull.into()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(fs::read_to_string(&path).unwrap(), "whole\n");
    let full: OwnedFd = fs::OpenOptions::new()
        .append(true)
        .open("/dev/full")
        .unwrap()
        .into();
    assert_eq!(append_all(&full), Some(io::ErrorKind::StorageFull));
}

fn append_all(file: &OwnedFd) -> Option<io::ErrorKind> {
    super::append(file, b"x\n").err().map(|error| error.kind())
}
