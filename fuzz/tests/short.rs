//! The short run: every input that is kept, and some mutations of them. The mutations are
//! the same in each run; `make fuzz` tries others.

use prefork_fuzz::mutation::{Chance, mutate};
use prefork_fuzz::{TARGETS, target};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

/// For each target. What is not done by then is left out.
const TIME: Duration = Duration::from_secs(2);
const MUTATIONS: usize = 20_000;

/// The inputs of a target in a folder, with the names of their files.
fn inputs(folder: &str, name: &str) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(folder)
        .join(name);
    let Ok(files) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut found: Vec<_> = files
        .map(|file| {
            let path = file.unwrap().path();
            (path.display().to_string(), fs::read(path).unwrap())
        })
        .collect();
    found.sort();
    found
}

/// Runs a target, and says with which input it failed.
fn run(name: &str, what: &str, data: &[u8]) {
    let function = target(name).unwrap();
    if catch_unwind(AssertUnwindSafe(|| function(data))).is_err() {
        panic!(
            "target {name} fails with {what}: b\"{}\"",
            data.escape_ascii()
        );
    }
}

fn short_run(name: &str) {
    let began = Instant::now();
    for (path, data) in inputs("regressions", name) {
        run(name, &path, &data);
    }
    let corpus = inputs("corpus", name);
    assert!(!corpus.is_empty(), "corpus/{name} is empty");
    for (path, data) in &corpus {
        run(name, path, data);
    }
    let corpus: Vec<Vec<u8>> = corpus.into_iter().map(|(_, data)| data).collect();
    let mut chance = Chance::new(1);
    for number in 0..MUTATIONS {
        if began.elapsed() > TIME {
            break;
        }
        let mut data = corpus[chance.below(corpus.len())].clone();
        mutate(&mut data, &corpus, &mut chance);
        run(name, &format!("mutation {number}"), &data);
    }
}

#[test]
fn every_target_has_a_test_here() {
    let known = [
        "head",
        "chunked",
        "http2",
        "hpack",
        "websocket",
        "response",
        "relayed",
        "proxy",
        "records",
        "engine",
    ];
    assert_eq!(TARGETS.map(|(name, _)| name), known);
    assert!(target("none").is_none());
}

#[test]
fn heads() {
    short_run("head");
}

#[test]
fn frames_of_http2() {
    short_run("http2");
}

#[test]
fn header_blocks() {
    short_run("hpack");
}

#[test]
fn chunked_bodies() {
    short_run("chunked");
}

#[test]
fn websocket_frames() {
    short_run("websocket");
}

#[test]
fn responses_of_hostile_applications() {
    short_run("response");
}

#[test]
fn responses_that_other_workers_send() {
    short_run("relayed");
}

#[test]
fn what_proxies_say() {
    short_run("proxy");
}

#[test]
fn tls_records() {
    short_run("records");
}

#[test]
fn a_reactor_with_any_clients() {
    short_run("engine");
}
