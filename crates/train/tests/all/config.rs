//! Settings as JSON.

use klayer_train::RunConfig;

use crate::{other_run, small_run};

/// The default settings, with the names that every record has.
const DEFAULT: &str = r#"{"hidden":[50,50],"batch_norm":true,"init":"he","lambda":0.005,"eta_min":0.00001,"eta_max":0.1,"n_s":2250,"cycles":2,"batch":100,"seed":42,"validate_every":null,"training_sample":null,"test":false}"#;

fn json(config: &RunConfig) -> String {
    serde_json::to_string(config).expect("settings are JSON")
}

#[test]
fn records_omit_settings_that_have_their_defaults() {
    assert_eq!(json(&RunConfig::default()), DEFAULT, "the keys of records depend on it");
    for config in [RunConfig::default(), small_run(), other_run()] {
        assert_eq!(serde_json::from_str::<RunConfig>(&json(&config)).expect("settings"), config);
    }
    let other = json(&other_run());
    for setting in [
        r#""activation":["modulus","gelu"]"#,
        r#""dropout":0.1"#,
        r#""schedule":"cosine""#,
        r#""epochs":4.0"#,
        r#""normalize":"whiten=0.3""#,
        r#""label_smoothing":0.1"#,
        r#""flip":true"#,
        r#""shift":2"#,
        r#""momentum":0.9"#,
        r#""nesterov":true"#,
    ] {
        assert!(other.contains(setting), "{setting} in {other}");
    }
}

#[test]
fn records_with_missing_or_invalid_settings_are_rejected() {
    let required =
        ["hidden", "batch_norm", "init", "lambda", "eta_min", "eta_max", "n_s", "cycles", "batch", "seed", "test"];
    for name in required {
        let without = DEFAULT.replacen(&format!("\"{name}\""), "\"else\"", 1);
        let error = serde_json::from_str::<RunConfig>(&without).expect_err(name).to_string();
        assert!(error.contains(name), "{error}");
    }
    for (right, wrong) in [("\"he\"", "\"she\""), ("0.005", "\"0.005\""), ("[50,50]", "50"), ("42", "-1")] {
        serde_json::from_str::<RunConfig>(&DEFAULT.replacen(right, wrong, 1)).expect_err(wrong);
    }
}
