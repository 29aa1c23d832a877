//! Servers that come as Python packages, in virtual environments of their own.

use std::fs::{File, create_dir_all};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// Starts a command line, prints its process id, and kills it when standard input ends: with whoever
/// holds the other end, however that went.
const KEEPER: &str = "
import os, signal, subprocess, sys
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
print(server.pid, flush=True)
sys.stdin.read()
server.send_signal(signal.SIGKILL)
server.wait()
";

/// An environment that holds `packages`, each a name with its version; made where it is not there yet.
///
/// # Panics
/// There is no Python 3 with `venv`, or a package cannot be installed.
pub(super) fn environment(packages: &[&str]) -> PathBuf {
    let beds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/testbeds");
    let directory = beds.join(packages.join("+"));
    let done = directory.join("installed");
    create_dir_all(&beds).expect("target/testbeds");
    // Other tests, in this process and in others, wait for the first.
    let lock = File::create(beds.join("lock")).expect("a lock file");
    lock.lock().expect("the lock");
    if !done.exists() {
        let path = directory.to_str().expect("a UTF-8 path");
        must_run(Command::new("python3").args(["-m", "venv", "--clear", path]));
        let pip = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ];
        let python = directory.join("bin/python");
        must_run(Command::new(python).args(pip).args(packages));
        File::create(done).expect("a mark");
    }
    directory
}

/// Runs a script to its end.
///
/// # Panics
/// It fails.
pub(super) fn script(environment: &Path, text: &str, args: &[&str]) {
    let python = environment.join("bin/python");
    must_run(Command::new(python).args(["-c", text]).args(args));
}

/// A program of an environment, to be started.
pub(super) fn command(environment: &Path, program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(environment.join("bin").join(program));
    command.args(args);
    command
}

/// What a program of an environment prints.
///
/// # Panics
/// It fails.
pub(super) fn output(environment: &Path, program: &str, args: &[&str]) -> String {
    let said = must_run(&mut command(environment, program, args));
    String::from_utf8(said).expect("UTF-8")
}

fn must_run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?} cannot be started: {error}; the tests need Python 3 with venv and pip")
    });
    assert!(
        output.status.success(),
        "{command:?} failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// A server process that does not outlive this one.
#[derive(Debug)]
pub(super) struct Kept {
    keeper: Child,
    _stdin: Option<ChildStdin>,
}

impl Kept {
    /// Starts a program; what it says goes to `log`.
    pub(super) fn start(environment: &Path, program: &str, args: &[&str], log: &Path) -> Self {
        let log = File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("a log");
        let mut keeper = Command::new(environment.join("bin/python"))
            .args(["-c", KEEPER])
            .arg(environment.join("bin").join(program))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("the server starts");
        let stdin = keeper.stdin.take();
        Self {
            keeper,
            _stdin: stdin,
        }
    }

    /// Kills it (`kill -9`) and waits until it is gone.
    pub(super) fn kill(&mut self) {
        self._stdin = None;
        self.keeper.wait().expect("the keeper ends");
    }

    /// Whether it ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        self.keeper.try_wait().expect("a status").is_some()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.kill();
    }
}
