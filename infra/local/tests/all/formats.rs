//! Stored formats only grow: a store of every format that was ever written is kept and still reads.

use std::fs;
use std::io::Read;
use std::path::Path;

use crate::support::Foldback;

/// Unpacks the store of a format into a fresh data directory.
fn kept(format: u32) -> Foldback {
    let name = format!("../../tests/fixtures/store-format-{format}.db.gz");
    let packed = fs::File::open(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("kept");
    let mut database = Vec::new();
    flate2::read::GzDecoder::new(packed)
        .read_to_end(&mut database)
        .expect("gzip");
    let foldback = Foldback::new();
    fs::create_dir(foldback.data()).expect("a directory");
    fs::write(foldback.data().join("foldback.db"), database).expect("written");
    foldback
}

/// The store holds the sample's first 400 lines, the later half taken in first, and a parked event.
#[test]
fn format_1_reads_and_goes_on() {
    let foldback = kept(1);
    let replay = foldback.ends(&["replay"]);
    assert!(
        replay.stderr.contains("all equal; 1 events are parked"),
        "{}",
        replay.stderr
    );
    let leads = foldback.ok(&["export", "RSLead"]);
    assert_eq!(leads.lines().count(), 115);
    let shown = foldback.ok(&["show", "lead-1001", "--tenant", "acme"]);
    assert!(shown.contains("lead.created"), "{shown}");
    assert_eq!(
        foldback.ends(&["rejects", "--json"]).stdout.lines().count(),
        2
    );
    assert!(
        foldback
            .ends(&["dlq", "list"])
            .stdout
            .contains("is not a decimal number")
    );
    let again = foldback.ends(&["run"]).stdout;
    assert!(again.contains("all equal"), "{again}");
}
