//! Records: named by everything that determines them; invalid ones are rejected with the position.

use std::fs;

use klayer_store::{Error, Recorded, Store, key};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Product {
    factors: Vec<u64>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct ProductRecord {
    config: Product,
    data: String,
    product: u64,
}

impl Recorded for Product {
    type Record = ProductRecord;
    const KIND: &'static str = "product";

    fn origin(record: &ProductRecord) -> (&Self, &str) {
        (&record.config, &record.data)
    }
}

impl Product {
    fn record(&self, data: &str) -> ProductRecord {
        let config = Self { factors: self.factors.clone() };
        ProductRecord { config, data: data.to_owned(), product: self.factors.iter().product() }
    }
}

#[test]
fn the_kind_the_settings_and_the_data_determine_a_key() {
    let job = Product { factors: vec![2, 3] };
    let name = job.key("data").expect("a key");
    assert!(name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
    assert_eq!(key("product", &job, "data").expect("a key"), name);
    let others = [
        job.key("other data"),
        key("sum", &job, "data"),
        Product { factors: vec![3, 2] }.key("data"),
        Product { factors: vec![2] }.key("data"),
    ];
    assert!(others.into_iter().all(|other| other.expect("a key") != name));
}

#[test]
fn records_are_found_in_order_unless_missing_or_of_another_job() {
    let folder = TempDir::new().expect("a temporary folder");
    let store = Store::open(folder.path().join("records")).expect("a store");
    let jobs = [vec![2, 3], vec![5], vec![]].map(|factors| Product { factors });
    let keys = jobs.each_ref().map(|job| job.key("data").expect("a key"));
    for (job, key) in jobs.iter().zip(&keys).rev() {
        let missing = store.records(&jobs, "data").expect_err("not all are written");
        assert!(matches!(&missing, Error::Missing { path } if *path == store.path(&keys[0])), "{missing}");
        store.put(key, &job.record("data")).expect("written");
    }
    let records = store.records(&jobs, "data").expect("all are written");
    assert_eq!(records.iter().map(|record| record.product).collect::<Vec<_>>(), [6, 5, 1]);
    assert!(matches!(store.records(&jobs, "other data"), Err(Error::Missing { .. })));

    fs::copy(store.path(&keys[0]), store.path(&keys[1])).expect("copied");
    let error = store.record::<Product>(&keys[1]).expect_err("it is of another job").to_string();
    assert!(error.contains(&format!("{}.json: ", keys[1])) && error.contains(&format!("{}.json;", keys[0])), "{error}");
}

#[test]
fn record_errors_give_their_position_once() {
    let folder = TempDir::new().expect("a temporary folder");
    let store = Store::open(folder.path()).expect("a store");
    fs::write(store.path("some"), "{").expect("written");
    let text = store.get::<ProductRecord>("some").expect_err("it is damaged").to_string();
    assert_eq!(text.matches("line").count(), 1, "{text}");
}

#[test]
fn control_characters_in_record_errors_are_escaped() {
    let folder = TempDir::new().expect("a temporary folder");
    let store = Store::open(folder.path()).expect("a store");
    fs::write(store.path("some"), r#"{"config": {"\u001b[2J\n": 1}}"#).expect("written");
    let text = store.get::<ProductRecord>("some").expect_err("no such field").to_string();
    assert!(text.contains(r"\u{1b}[2J\n") && !text.contains(char::is_control), "{text}");
}
