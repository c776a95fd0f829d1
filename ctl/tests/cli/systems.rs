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

/// Does a name with an ellipsis at one of its ends, or without, stand for this one?
fn stands_for(named: &str, name: &str) -> bool {
    match (named.strip_prefix('…'), named.strip_suffix('…')) {
        (_, Some(begin)) => name.starts_with(begin),
        (Some(end), None) => name.ends_with(end),
        (None, None) => named == name,
    }
}

/// Where the tests of a section are: of a program of their own, or all programs.
fn files_of(section: &str, module: &str) -> Vec<PathBuf> {
    let tests = repository().join("tests/e2e/tests");
    [
        tests.join(format!("{module}.rs")),
        tests.join(section).join(format!("{module}.rs")),
    ]
    .into_iter()
    .filter(|file| file.is_file())
    .collect()
}

/// Does what is quoted name a test that is there? None if it does not look like the name of one.
fn is_there(section: &str, quoted: &str) -> Option<bool> {
    if let Some((module, name)) = quoted.split_once("::") {
        let files = files_of(section, module);
        let mut names = files.iter().flat_map(|file| tests(file));
        return Some(names.any(|it| stands_for(name, &it)));
    }
    if quoted.ends_with(".rs") {
        let file = repository().join(quoted);
        return Some(file.is_file() && !tests(&file).is_empty());
    }
    if ["cluster_", "lab_"].iter().any(|it| quoted.starts_with(it)) {
        let program = repository().join("tests/e2e/tests").join(quoted);
        return Some(program.with_extension("rs").is_file() || program.is_dir());
    }
    None
}

#[test]
fn every_ticked_row_names_a_test_that_is_there() {
    let mut section = String::new();
    // A word stands for a test, as its own table says.
    let mut words: Vec<&str> = Vec::new();
    let (mut ticked, mut last, mut wrong) = (0, true, Vec::new());
    for line in PAGE.lines() {
        if let Some((_, link)) = line.split_once("(../tests/e2e/tests/") {
            section = link.split(')').next().unwrap().to_owned();
        }
        let Some(cells) = cells(line) else { continue };
        if let [word, test] = cells[..]
            && let [test] = quoted(test)[..]
        {
            words.push(word);
            if is_there(&section, test) != Some(true) {
                wrong.push(format!("{word}: {test} is not there"));
            }
        }
        let ["✓", _, proof] = cells[..] else {
            continue;
        };
        ticked += 1;
        let named: Vec<(&str, bool)> = quoted(proof)
            .into_iter()
            .filter_map(|name| Some((name, is_there(&section, name)?)))
            .collect();
        for (name, _) in named.iter().filter(|(_, there)| !there) {
            wrong.push(format!("{line}: {name} is not there"));
        }
        let by_word = words.iter().any(|word| {
            let mut said = proof.split(|c: char| !c.is_alphanumeric());
            said.any(|it| it == *word)
        });
        let same = proof.starts_with("the same") && last;
        last = !named.is_empty() || by_word || same;
        if !last {
            wrong.push(format!("{line}: no test is named"));
        }
    }
    assert!(ticked > 30 && words.len() > 3, "{ticked} rows, {words:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
