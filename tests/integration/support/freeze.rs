//! Freezes one thread of a running program from outside, as a bug or a broken machine would: it holds what it
//! holds, and does nothing.

use super::{host::Host, wait};
use nix::{
    errno::Errno,
    sys::{
        ptrace,
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};

/// `epoll_wait` and `epoll_pwait` on x86-64, `epoll_pwait` elsewhere: where a worker waits for its jobs' targets. A
/// thread that was caught anywhere else might hold a lock of the whole program.
const WAITING: [&str; 3] = ["232", "281", "22"];

/// A thread that does nothing until this is dropped. Must be dropped by the thread that made it, and before the
/// program is waited for.
pub struct Frozen {
    thread: Pid,
}

/// Freezes the worker of that number.
pub fn worker(host: &Host, number: usize) -> Frozen {
    let thread = find(host, &format!("worker-{number}"));
    host.wait_for("a moment in which the worker waits", || {
        if let Err(errno) = ptrace::seize(thread, ptrace::Options::empty()) {
            refuse(errno);
        }
        let frozen = Frozen { thread };
        ptrace::interrupt(thread).unwrap_or_else(|errno| refuse(errno));
        waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
        let path = format!("/proc/{}/task/{thread}/syscall", host.pid());
        let syscall = std::fs::read_to_string(path).unwrap();
        let number = syscall.split_whitespace().next().unwrap_or_default();
        WAITING.contains(&number).then_some(frozen)
    })
}

/// It is not for the machine to decide whether this is tested.
fn refuse(errno: Errno) -> ! {
    panic!(
        "a thread of the program can't be frozen ({errno}): these tests need ptrace on their own children; run them \
         where a debugger works (kernel.yama.ptrace_scope at most 1, no seccomp filter against it)"
    );
}

fn find(host: &Host, name: &str) -> Pid {
    let folder = format!("/proc/{}/task", host.pid());
    wait::until(
        &format!("the thread {name}"),
        || {
            std::fs::read_dir(&folder).unwrap().find_map(|entry| {
                let entry = entry.unwrap();
                let comm = std::fs::read_to_string(entry.path().join("comm")).ok()?;
                let thread = entry.file_name().to_str()?.parse().ok()?;
                (comm.trim_end() == name).then_some(Pid::from_raw(thread))
            })
        },
        || format!("{folder} has none of that name"),
    )
}

impl Frozen {
    /// Lets it go on.
    pub fn thaw(self) {}
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // The program may have ended.
        let _ = ptrace::detach(self.thread, None);
    }
}
