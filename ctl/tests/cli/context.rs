//! `context`.

use crate::support::Workplace;

#[test]
fn the_first_context_is_the_current_one_and_has_absolute_paths() {
    let place = Workplace::new();
    place.run("pki init --cluster shop").exits(0);
    place.run("pki issue operator anna").exits(0);
    place
        .run("context add shop --endpoint mgmt1,mgmt2:7401 --tls-dir pki/operator/anna")
        .exits(0);
    let shown = place.run("context show -o json").exits(0).json();
    assert_eq!(shown["name"], "shop");
    assert_eq!(shown["current"], true);
    assert_eq!(
        shown["endpoints"],
        serde_json::json!(["mgmt1", "mgmt2:7401"])
    );
    let key = place.path("pki/operator/anna/operator.key");
    assert_eq!(shown["key"], key.canonicalize().unwrap().to_str().unwrap());
}

#[test]
fn contexts_are_listed_used_and_removed() {
    let place = Workplace::new();
    place
        .run("context add a --endpoint a --ca ca --cert c --key k")
        .exits(0);
    place
        .run("context add b --endpoint b --ca ca --cert c --key k")
        .exits(0);
    let list = |place: &Workplace| place.run("context list").exits(0).stdout;
    assert_eq!(list(&place), "   NAME  ENDPOINTS\n*  a     a\n   b     b\n");
    place.run("context use b").exits(0);
    place.run("context remove a").exits(0);
    assert_eq!(list(&place), "   NAME  ENDPOINTS\n*  b     b\n");
    let ran = place.run("context use a").exits(64);
    assert!(ran.stderr.contains("there are b"), "{}", ran.stderr);
}

#[test]
fn a_slip_in_a_contexts_name_is_told_with_the_one_that_was_probably_meant() {
    let place = Workplace::new();
    for name in ["shop-prod", "shop-test"] {
        place
            .run(&format!(
                "context add {name} --endpoint a --ca ca --cert c --key k"
            ))
            .exits(0);
    }
    for line in ["context use shop-tets", "status --context shop-tets"] {
        let ran = place.run(line).exits(64);
        assert!(
            ran.stderr.contains("did you mean shop-test?"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn a_misspelt_key_in_the_file_is_an_error_that_names_it() {
    let place = Workplace::new();
    place.write("config.toml", "curent = 'a'\n");
    let ran = place.run("context list").exits(2);
    assert!(ran.stderr.contains("curent"), "{}", ran.stderr);
}
