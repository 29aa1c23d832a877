//! `mutants`: puts each deliberate bug into a copy of the sources, and simulates until it is found.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;
use foldback_simulation::{MUTANTS, Mutant};

/// Proves that the simulation finds bugs.
#[derive(Debug, Parser)]
struct Args {
    /// How many seeds each bug gets at most.
    #[arg(long, default_value_t = 100_000)]
    seeds: u64,
    /// Only those whose description holds this.
    #[arg(long)]
    only: Option<String>,
    /// How many threads.
    #[arg(long, default_value_t = 2)]
    jobs: u64,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(missed) => {
            say(&format!("{missed} not caught"));
            ExitCode::FAILURE
        }
        Err(why) => {
            say(&why);
            ExitCode::from(2)
        }
    }
}

/// How many were not caught.
fn run(args: &Args) -> Result<usize, String> {
    let scratch = Scratch::new()?;
    let only = |one: &&Mutant| {
        args.only
            .as_ref()
            .is_none_or(|text| one.what.contains(text))
    };
    let mut missed = 0;
    say("| bug | seeds until it was caught | as |\n| --- | ---: | --- |");
    for mutant in MUTANTS.iter().filter(only) {
        scratch.put(mutant)?;
        match scratch.simulate(args)? {
            Some((seeds, caught)) => say(&format!("| {} | {seeds} | {caught} |", mutant.what)),
            None => {
                missed += 1;
                say(&format!("| {} | not in {} | |", mutant.what, args.seeds));
            }
        }
        scratch.take_back(mutant)?;
    }
    Ok(missed)
}

/// A copy of the sources that the simulation is built from.
struct Scratch {
    root: PathBuf,
    copy: PathBuf,
}

impl Scratch {
    fn new() -> Result<Self, String> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest
            .ancestors()
            .nth(2)
            .unwrap_or(manifest)
            .to_path_buf();
        let copy = root.join("target/mutants");
        let scratch = Self { root, copy };
        for folder in ["shared", "tests/simulation"] {
            let copied = scratch.copy_folder(Path::new(folder));
            copied.map_err(|error| format!("copy {folder}: {error}"))?;
        }
        let copied = scratch.copy_workspace();
        copied.map_err(|error| format!("copy the workspace: {error}"))?;
        Ok(scratch)
    }

    fn copy_folder(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(self.copy.join(folder))?;
        for entry in fs::read_dir(self.root.join(folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.copy_folder(&path)?;
            } else {
                self.write(&path, &fs::read(entry.path())?)?;
            }
        }
        Ok(())
    }

    /// What is the same already stays, so that it need not be built again.
    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let path = self.copy.join(path);
        if fs::read(&path).is_ok_and(|known| known == content) {
            return Ok(());
        }
        fs::write(path, content)
    }

    /// The workspace of these two packages alone.
    fn copy_workspace(&self) -> io::Result<()> {
        let text = fs::read_to_string(self.root.join("Cargo.toml"))?;
        let lines = text
            .lines()
            .filter(|line| !line.starts_with("default-members"));
        let lines = lines.map(|line| {
            if line.starts_with("members = ") {
                r#"members = ["shared", "tests/simulation"]"#
            } else {
                line
            }
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        self.write(Path::new("Cargo.toml"), text.as_bytes())?;
        let lock = fs::read(self.root.join("Cargo.lock"))?;
        fs::write(self.copy.join("Cargo.lock"), lock)
    }

    fn put(&self, mutant: &Mutant) -> Result<(), String> {
        let text = self.original(mutant)?;
        let text = mutant.apply(&text).map_err(|why| why.to_string())?;
        let written = self.write(Path::new(mutant.file), text.as_bytes());
        written.map_err(|error| format!("write {}: {error}", mutant.file))
    }

    fn take_back(&self, mutant: &Mutant) -> Result<(), String> {
        let text = self.original(mutant)?;
        let written = self.write(Path::new(mutant.file), text.as_bytes());
        written.map_err(|error| format!("write {}: {error}", mutant.file))
    }

    fn original(&self, mutant: &Mutant) -> Result<String, String> {
        let text = fs::read_to_string(self.root.join(mutant.file));
        text.map_err(|error| format!("read {}: {error}", mutant.file))
    }

    /// Builds and simulates: after how many seeds it failed, and as what.
    fn simulate(&self, args: &Args) -> Result<Option<(u64, String)>, String> {
        let mut build = Command::new("cargo");
        build.args(["build", "--release", "--quiet", "--offline"]);
        build.args(["-p", "foldback-simulation", "--bin", "simulate"]);
        // Quick to build, and quick enough to run.
        for package in ["shared", "foldback-simulation"] {
            let level = format!("profile.release.package.{package}.opt-level=1");
            build.args(["--config", &level]);
        }
        let target = self.copy.join("target");
        build
            .env("CARGO_TARGET_DIR", &target)
            .current_dir(&self.copy);
        let built = build.output().map_err(|error| format!("cargo: {error}"))?;
        if !built.status.success() {
            return Err(String::from_utf8_lossy(&built.stderr).into_owned());
        }
        let mut simulate = Command::new(target.join("release/simulate"));
        simulate.args(["--quiet", "--seeds", &args.seeds.to_string()]);
        simulate.args(["--jobs", &args.jobs.to_string()]);
        let ran = simulate
            .output()
            .map_err(|error| format!("simulate: {error}"))?;
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        if ran.status.success() {
            return Ok(None);
        }
        let failed = said.lines().find_map(|line| line.strip_prefix("seed "));
        let failed = failed.and_then(|line| line.split_once(" fails: "));
        let Some((seed, why)) = failed else {
            return Err(format!(
                "simulate says {said:?}, {}",
                String::from_utf8_lossy(&ran.stderr)
            ));
        };
        let seed: u64 = seed.parse().map_err(|error| format!("{seed:?}: {error}"))?;
        let why: String = why.chars().take(110).collect();
        Ok(Some((seed + 1, why.replace('|', "/"))))
    }
}

#[expect(clippy::print_stdout, reason = "a command line")]
fn say(what: &str) {
    println!("{what}");
}
