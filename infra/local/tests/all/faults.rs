//! What disks and people do to a data directory: a clear error that says where and what to do, never a silent
//! loss, and once it is mended the run goes on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Dataset, Disorder, Ended, Foldback};

/// A data directory, some events that are in it, and all that there are.
struct Scene {
    dataset: Dataset,
    foldback: Foldback,
    all: String,
}

impl Scene {
    /// None of the events are in yet.
    fn new() -> Self {
        let dataset = Dataset::of_leads(400);
        let foldback = Foldback::new();
        let arrivals = Disorder::new(21).delay(&dataset.lines);
        let all = foldback.file("all.jsonl", &arrivals.join("\n"));
        Self {
            dataset,
            foldback,
            all,
        }
    }

    /// All of them are.
    fn done() -> Self {
        let scene = Self::new();
        scene.foldback.ok(&scene.args());
        scene
    }

    fn args(&self) -> [&str; 6] {
        [
            "run",
            &self.all,
            "--settings",
            self.dataset.settings(),
            "--batch",
            "64",
        ]
    }

    fn database(&self) -> PathBuf {
        self.foldback.data().join("foldback.db")
    }

    /// Each command fails with 3, says so in one line, and names the directory.
    #[track_caller]
    fn fail(&self, commands: &[&[&str]], says: &str) {
        for args in commands {
            clear(&self.foldback, &self.foldback.ends(args), says);
        }
    }

    /// The run goes on, and the tables are what they must be.
    #[track_caller]
    fn goes_on(&self) {
        self.foldback.ok(&self.args());
        self.dataset.check(&self.foldback);
        self.foldback.ok(&["check"]);
    }
}

/// A failure that a person can work with.
#[track_caller]
fn clear(foldback: &Foldback, ended: &Ended, says: &str) {
    let Ended { status, stderr, .. } = ended;
    assert_eq!(*status, 3, "{stderr}\n{}", ended.stdout);
    let line = stderr
        .lines()
        .find(|line| line.starts_with("foldback: "))
        .unwrap_or_default();
    let place = foldback.data();
    assert!(
        line.contains(place.to_str().expect("UTF-8")),
        "where? {stderr}"
    );
    assert!(line.contains(says), "{says}? {stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("copied");
    }
}

/// No file may grow beyond a size, which is what a full disk looks like to whoever writes.
#[test]
fn no_room() {
    for kib in [64, 256, 1_024, 2_048] {
        let scene = Scene::new();
        let command = scene.foldback.command(&scene.args());
        let mut limited = Command::new("bash");
        limited
            .arg("-c")
            .arg(format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" \"$@\""))
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(scene.foldback.scratch.path())
            .stdin(Stdio::null());
        let output = limited.output().expect("it starts");
        let ended = Ended {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        clear(&scene.foldback, &ended, "run the same again");
        scene.goes_on();
    }
}

/// A copy of the binary that anybody may run, and a directory that only its owner may write to.
fn as_another_user(scene: &Scene, args: &[&str]) -> Ended {
    let scratch = scene.foldback.scratch.path();
    let binary = scratch.join("foldback");
    fs::copy(env!("CARGO_BIN_EXE_foldback"), &binary).expect("copied");
    for path in [scratch, &binary] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("readable");
    }
    let mut command = Command::new(&binary);
    command.args(args).arg("--data").arg(scene.foldback.data());
    command.current_dir(scratch).stdin(Stdio::null());
    // Whoever owns everything may write everywhere.
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(scratch).expect("metadata"));
    if owner == 0 {
        std::os::unix::process::CommandExt::uid(&mut command, 65_534);
    }
    let output = command.output().expect("it starts");
    Ended {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn read_only() {
    let scene = Scene::done();
    let settings = fs::read_to_string(scene.dataset.settings()).expect("settings");
    let settings = scene.foldback.file("settings.toml", &settings);
    let run = ["run", &scene.all, "--settings", &settings];
    let set = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
    };
    let (data, database) = (scene.foldback.data(), scene.database());
    let files = || {
        fs::read_dir(&data)
            .expect("a directory")
            .map(|entry| entry.expect("an entry").path())
    };
    // A directory in which nothing can be made.
    files().for_each(|file| set(&file, 0o444));
    set(&data, 0o555);
    clear(&scene.foldback, &as_another_user(&scene, &run), "writable");
    // A file in a directory that can be written to.
    set(&data, 0o777);
    files().for_each(|file| set(&file, 0o666));
    set(&database, 0o444);
    clear(&scene.foldback, &as_another_user(&scene, &run), "writable");
    // A file that cannot even be read.
    set(&database, 0o000);
    clear(
        &scene.foldback,
        &as_another_user(&scene, &["export", "RSLead"]),
        "may this user",
    );
    set(&database, 0o644);
    scene.goes_on();
}

#[test]
fn a_file_cut_off() {
    let scene = Scene::done();
    let whole = fs::read(scene.database()).expect("the file");
    for keep in [whole.len() / 2, whole.len() - 4_096, 5_000, 100] {
        fs::write(scene.database(), &whole[..keep]).expect("cut off");
        scene.fail(
            &[
                &["check"],
                &["export", "RSLead"],
                &["replay"],
                &["run", &scene.all],
            ],
            "restore",
        );
    }
    fs::write(scene.database(), &whole).expect("restored");
    scene.goes_on();
}

#[test]
fn a_foreign_file() {
    let scene = Scene::done();
    let whole = fs::read(scene.database()).expect("the file");
    fs::write(scene.database(), "Dear diary, ".repeat(1_000)).expect("written");
    scene.fail(
        &[&["check"], &["replay"], &["run", &scene.all]],
        "is not a Foldback store",
    );
    fs::remove_file(scene.database()).expect("removed");
    let other = rusqlite::Connection::open(scene.database()).expect("another database");
    other
        .execute_batch("CREATE TABLE diary (entry TEXT)")
        .expect("a table");
    drop(other);
    for args in [&["check"][..], &["replay"], &["run", &scene.all]] {
        let ended = scene.foldback.ends(args);
        assert_eq!(ended.status, 2, "it is the wrong --data: {}", ended.stderr);
        assert!(
            ended.stderr.contains("is not a Foldback store"),
            "{}",
            ended.stderr
        );
    }
    fs::write(scene.database(), &whole).expect("restored");
    scene.goes_on();
}

/// Pages full of noise: never an answer as if nothing were wrong.
#[test]
fn pages_of_noise() {
    let scene = Scene::done();
    let tables = scene.foldback.tables();
    let whole = fs::read(scene.database()).expect("the file");
    let pages = whole.len() / 4_096;
    let mut random = Disorder::new(22);
    let mut found = 0;
    for _ in 0..12 {
        let mut damaged = whole.clone();
        let page = 1 + usize::try_from(random.below(pages as u64 - 1)).expect("small");
        for byte in &mut damaged[page * 4_096..][..4_096] {
            *byte = u8::try_from(random.below(256)).expect("a byte");
        }
        fs::write(scene.database(), &damaged).expect("damaged");
        let ended = scene.foldback.ends(&["check"]);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        if ended.status == 0 {
            assert_eq!(scene.foldback.tables(), tables, "a page that nothing is in");
            continue;
        }
        found += 1;
        assert_eq!(ended.status, 3, "page {page}: {}", ended.stderr);
        let run = scene.foldback.ends(&["run", &scene.all]);
        assert!(matches!(run.status, 0 | 1 | 3), "{}", run.stderr);
        assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    }
    assert!(found >= 8, "only {found} of 12 pages mattered");
    fs::write(scene.database(), &whole).expect("restored");
    let _wal = fs::remove_file(scene.foldback.data().join("foldback.db-wal"));
    let _shm = fs::remove_file(scene.foldback.data().join("foldback.db-shm"));
    scene.goes_on();
}

/// Single bytes: either somebody says so, or what is read is what was written.
#[test]
fn bytes_that_changed() {
    let scene = Scene::done();
    let tables = scene.foldback.tables();
    let shown = |scene: &Scene| scene.foldback.ends(&["settings", "show"]).stdout;
    let settings = shown(&scene);
    let whole = fs::read(scene.database()).expect("the file");
    let mut random = Disorder::new(23);
    let (mut checked, mut replayed, mut harmless) = (0, 0, 0);
    for _ in 0..60 {
        let mut damaged = whole.clone();
        let place = usize::try_from(random.below(whole.len() as u64)).expect("small");
        damaged[place] ^= 1 << random.below(8);
        fs::write(scene.database(), &damaged).expect("damaged");
        let check = scene.foldback.ends(&["check"]);
        let replay = scene.foldback.ends(&["replay"]);
        for ended in [&check, &replay] {
            assert!(
                !ended.stderr.contains("panicked"),
                "byte {place}: {}",
                ended.stderr
            );
        }
        if check.status != 0 {
            checked += 1;
        } else if replay.status != 0 {
            replayed += 1;
        } else {
            harmless += 1;
            assert_eq!(
                scene.foldback.tables(),
                tables,
                "byte {place} of the file changed in silence"
            );
            assert_eq!(
                shown(&scene),
                settings,
                "byte {place} of the file changed in silence"
            );
        }
    }
    assert!(
        checked > 0,
        "{checked} found by check, {replayed} by replay, {harmless} harmless"
    );
}

#[expect(
    clippy::disallowed_methods,
    reason = "kills a process in the middle of its run"
)]
fn killed(scene: &Scene) {
    let mut run = scene.foldback.start(&scene.args());
    let wal = scene.foldback.data().join("foldback.db-wal");
    while run.try_wait().expect("a status").is_none()
        && fs::metadata(&wal).map_or(0, |wal| wal.len()) < 1 << 20
    {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    run.kill().expect("killed");
    run.wait().expect("reaped");
}

/// `SQLite` takes a log that was cut off for one that ends there. The witness beside it knows better.
#[test]
fn a_write_ahead_log_cut_off() {
    let scene = Scene::new();
    killed(&scene);
    let (data, kept) = (
        scene.foldback.data(),
        scene.foldback.scratch.path().join("kept"),
    );
    copy(&data, &kept);
    let wal = data.join("foldback.db-wal");
    let whole = fs::read(&wal).expect("the log of a killed process");
    for keep in [whole.len() / 2, 32, 0] {
        copy(&kept, &data);
        fs::write(&wal, &whole[..keep]).expect("cut off");
        let _shm = fs::remove_file(data.join("foldback.db-shm"));
        if keep > 32 {
            let ended = scene.foldback.ends(&["check"]);
            assert_eq!(ended.status, 3, "{}", ended.stdout);
            assert!(ended.stdout.contains("was durable"), "{}", ended.stdout);
        }
        scene.fail(&[&scene.args()], "was durable");
    }
    // As it was.
    copy(&kept, &data);
    scene.goes_on();
    // Or what is lost is taken in again.
    let _gone = fs::remove_dir_all(&data);
    copy(&kept, &data);
    fs::write(&wal, &whole[..whole.len() / 2]).expect("cut off");
    let _shm = fs::remove_file(data.join("foldback.db-shm"));
    fs::remove_file(data.join("foldback.durable")).expect("the witness");
    scene.goes_on();
}
