//! What the guide says is what the code says.

use std::fs;
use std::path::Path;

use shared::model::Class;
use shared::ports::{REPORTS_KEPT_MAX, RUNS_KEPT_MAX};

fn guide() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    fs::read_to_string(path).expect("the guide")
}

#[test]
fn the_guide_explains_every_class_as_replay_does() {
    let guide = guide();
    let header = "| class | the row… | comes about | to do |";
    let table = guide.lines().skip_while(|line| *line != header).skip(2);
    let rows: Vec<&str> = table.take_while(|line| line.starts_with('|')).collect();
    let expect: Vec<String> = Class::ALL
        .into_iter()
        .map(|class| {
            format!(
                "| `{class}` | {} | {} | {} |",
                class.explanation(),
                class.comes_about(),
                class.to_do()
            )
        })
        .collect();
    assert_eq!(rows, expect);
}

#[test]
fn the_guide_says_how_many_runs_and_reports_are_kept() {
    let guide = guide().replace('\n', " ");
    let told = format!(
        "The newest {RUNS_KEPT_MAX} runs are kept, with their findings, and the newest \
         {REPORTS_KEPT_MAX} reports."
    );
    assert!(guide.contains(&told), "the guide does not say: {told}");
}
