//! `docs/systems.md`: each ticked row names a test, and it is there.

use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../../../docs/systems.md");

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The cells of a row of a table.
fn cells(line: &str) -> Option<Vec<&str>> {
    let row = line.strip_prefix('|')?.strip_suffix('|')?;
    Some(row.split('|').map(str::trim).collect())
}

/// What stands between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The functions of a file that are tests, by the attribute before them.
fn tests(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let mut lines = text.lines().map(str::trim);
    let mut names = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            let declared = lines
                .by_ref()
                .find_map(|line| line.split_once("fn ").map(|(_, rest)| rest));
            let name = declared.unwrap().split(['(', '<']).next().unwrap();
            names.push(name.to_owned());
        }
    }
    names
}

/// Where the tests of a place are: a file of the repository, a program of the end-to-end tests, a module of one, or a module of
/// the section's own.
fn files_of(section: &str, place: &str) -> Vec<PathBuf> {
    if place.ends_with(".rs") {
        return vec![repository().join(place)];
    }
    let programs = repository().join("tests/e2e/tests");
    let below = place.replace("::", "/");
    [
        programs.join(format!("{below}.rs")),
        programs.join(&below).join("main.rs"),
        programs.join(section).join(format!("{below}.rs")),
    ]
    .into()
}

/// Is what is quoted the full name of a test that is there, `PLACE::NAME`? None if it does not look like one.
fn is_there(section: &str, quoted: &str) -> Option<bool> {
    let (place, name) = quoted.rsplit_once("::")?;
    let files = files_of(section, place);
    let mut names = files.iter().filter(|file| file.is_file());
    Some(names.any(|file| tests(file).iter().any(|it| it == name)))
}

/// The words in italics.
fn italics(text: &str) -> Vec<&str> {
    text.split('*').skip(1).step_by(2).collect()
}

/// How many rows are ticked, and what is wrong with them.
fn look_at(page: &str) -> (usize, Vec<String>) {
    let mut section = String::new();
    // A word stands for a test, as the table of its section says.
    let mut words: Vec<&str> = Vec::new();
    let (mut ticked, mut last, mut wrong) = (0, false, Vec::new());
    for line in page.lines() {
        if let Some((_, link)) = line.split_once("(../tests/e2e/tests/") {
            section = link.split(')').next().unwrap().to_owned();
            words.clear();
        }
        let Some(cells) = cells(line) else { continue };
        if let [word, test] = cells[..]
            && let [test] = quoted(test)[..]
        {
            if words.contains(&word) {
                wrong.push(format!("{word} stands for two tests"));
            }
            words.push(word);
            if is_there(&section, test) != Some(true) {
                wrong.push(format!("{word}: {test} is not there"));
            }
        }
        let ["✓", _, proof] = cells[..] else {
            continue;
        };
        ticked += 1;
        let by_name = quoted(proof)
            .into_iter()
            .filter_map(|name| Some((name, is_there(&section, name)?)));
        let by_word = italics(proof)
            .into_iter()
            .map(|word| (word, words.contains(&word)));
        let named: Vec<(&str, bool)> = by_name.chain(by_word).collect();
        for (name, _) in named.iter().filter(|(_, there)| !there) {
            wrong.push(format!("{line}: {name} is not there"));
        }
        last = !named.is_empty() || proof.starts_with("the same") && last;
        if !last {
            wrong.push(format!("{line}: no test is named"));
        }
    }
    (ticked, wrong)
}

#[test]
fn every_ticked_row_names_a_test_that_is_there() {
    let (ticked, wrong) = look_at(PAGE);
    assert!(ticked > 30, "{ticked} rows");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_program_a_word_of_prose_and_a_part_of_a_name_are_no_proof() {
    let page = |proof: &str| {
        format!(
            "In [here](../tests/e2e/tests/lab_uc8k).\n| | test |\n|---|---|\n| pair | \
             `pair::a_pair_is_started_switched_and_taken_over_and_stopped_in_its_order` |\n| ✓ | start | {proof} |\n"
        )
    };
    for good in [
        "*pair*, without the telephone",
        "`cluster_guard::a_clean_exit_is_reported_and_left_alone`",
        "`lab_postgres::moves::who_loses_power_loses_its_role_and_comes_back_rewound`",
        "`node-agent/src/probe/history.rs::of_several_runs_the_gaps_do_not_matter`",
    ] {
        assert_eq!(look_at(&page(good)), (1, Vec::new()), "{good}");
    }
    for bad in [
        "of the pair of servers",
        "`lab_postgres`, on whole machines",
        "`node-agent/src/probe/history.rs`",
        "`cluster_guard::a_clean_exit_…`",
        "*single*",
        "*pair* and *links*",
        "the same",
    ] {
        assert!(!look_at(&page(bad)).1.is_empty(), "{bad}");
    }
    // The words of one section are no words of the next.
    let next = format!(
        "{}[there](../tests/e2e/tests/mstr)\n| ✓ | stop | *pair* |\n",
        page("*pair*")
    );
    assert_eq!(look_at(&next).1.len(), 1);
}
