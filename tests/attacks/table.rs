//! `docs/faults.md` names no test that does not exist.

use std::fs;

use crate::support;

#[test]
fn every_test_that_the_table_names_exists() {
    let table = fs::read_to_string(support::path("docs/faults.md")).expect("the table");
    let mut named = 0;
    for name in table.split('`').filter(|text| text.contains("::")) {
        let (file, test) = name.split_once("::").expect("a file and a test");
        let text = fs::read_to_string(support::path(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let defined = text.contains(&format!("fn {test}(")) || text.contains(&format!("def {test}("));
        assert!(defined, "{file} has no test {test}");
        named += 1;
    }
    assert!(named > 90, "{named}");
}
