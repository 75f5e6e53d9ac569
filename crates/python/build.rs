//! Tells the module of which commit, for which platform and by which compiler it is built: `prefork --version`
//! shows that.
//!
//! A source distribution has its commit in the file `COMMIT`. A checkout has git, which is asked for a release
//! only: a build for development would be repeated after every commit.

use std::env;
use std::path::Path;
use std::process::Command;

const RECORDED: &str = "COMMIT";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let profile = env::var("PROFILE").unwrap_or_default();
    let commit = if Path::new(RECORDED).exists() {
        println!("cargo::rerun-if-changed={RECORDED}");
        std::fs::read_to_string(RECORDED).ok()
    } else if profile == "release" {
        commit_of_checkout()
    } else {
        None
    };
    set("COMMIT", commit.as_deref());
    set("PROFILE", Some(&profile));
    set("TARGET", env::var("TARGET").ok().as_deref());
    set("RUSTC", compiler().as_deref());
}

/// Makes a value known to the code. One that is not known is empty.
fn set(name: &str, value: Option<&str>) {
    println!(
        "cargo::rustc-env=PREFORK_{name}={}",
        value.unwrap_or_default().trim()
    );
}

/// None for files that are in no repository, or in one that does not track them.
fn commit_of_checkout() -> Option<String> {
    git(&["ls-files", "--error-unmatch", "build.rs"])?;
    // It grows with each commit and each checkout.
    if let Some(path) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={path}");
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    output(Command::new("git").args(arguments))
}

/// Its version, such as `1.95.0`.
fn compiler() -> Option<String> {
    let line = output(Command::new(env::var_os("RUSTC")?).arg("--version"))?;
    line.split_whitespace().nth(1).map(str::to_owned)
}

/// What a command prints, without the end of the line; None if it fails.
fn output(command: &mut Command) -> Option<String> {
    let done = command.output().ok()?;
    let text = String::from_utf8(done.stdout).ok()?;
    done.status.success().then(|| text.trim_end().to_owned())
}
