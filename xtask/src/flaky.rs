//! Tests that passed only when they were tried again.
//!
//! nextest writes its results as JUnit XML; a test that failed first and passed later has an element `flakyFailure` in its
//! `testcase`. Only that is looked for, so no parser of XML is needed: nextest writes each quote in a text as an entity.

/// The names of the flaky tests in the results, each after its package and binary.
pub(crate) fn in_results(junit: &str) -> Vec<String> {
    let cases = junit.split("<testcase ").skip(1);
    cases
        .filter_map(|case| {
            let case = case.split("</testcase>").next()?;
            let is_flaky = case.contains("<flakyFailure") || case.contains("<flakyError");
            let (name, of) = (attribute(case, "name")?, attribute(case, "classname")?);
            is_flaky.then(|| format!("{of} {name}"))
        })
        .collect()
}

/// An attribute of the element that the text begins in.
fn attribute<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let inside = element.split('>').next()?;
    let mut attributes = inside.split_inclusive("\" ");
    let start = format!("{name}=\"");
    attributes.find_map(|one| one.trim_start().strip_prefix(&start)?.split('"').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESULTS: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nextest-run" tests="3" failures="1">
  <testsuite name="interlock-e2e::cluster_power" tests="3">
    <testcase name="off_is_proven" classname="interlock-e2e::cluster_power" time="1.0">
      <flakyFailure timestamp="2026-01-01T00:00:00Z" time="2.0" type="test failure with exit code 101">said &quot;no&quot;</flakyFailure>
    </testcase>
    <testcase name="on_is_proven" classname="interlock-e2e::cluster_power" time="1.0"/>
    <testcase name="never" classname="interlock-e2e::cluster_power" time="1.0">
      <failure type="test failure with exit code 101">no</failure>
      <rerunFailure type="test failure with exit code 101">no</rerunFailure>
    </testcase>
  </testsuite>
</testsuites>"#;

    #[test]
    fn only_a_test_that_failed_and_then_passed_is_flaky() {
        assert_eq!(
            in_results(RESULTS),
            ["interlock-e2e::cluster_power off_is_proven"]
        );
    }
}
