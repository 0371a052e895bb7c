//! `klayer gradcheck`.

use klayer_tests::{end, folder, images, klayer};

use crate::{array, assert_no_nan, line};

#[test]
fn gradcheck_checks_every_parameter_and_sets_the_exit_status() {
    let (_guard, folder) = folder();
    let arguments = "gradcheck --hidden 6,4 --batch 10 --features 40 --lambda 0,0.1";
    let told = line(&end(klayer(&folder, arguments).arg("--json").args(images())).well());
    assert_eq!(told["passed"], true);
    let largest = told["max_relative_error"].as_f64().expect("a number");
    assert!(largest > 0.0 && largest < 1e-6, "{largest}");
    let rows = array(&told["rows"]);
    assert_eq!(rows.len(), 2 * (4 + 4 + 2), "W, b, gamma and beta, for two lambdas");
    let seen = |row: &serde_json::Value| row["checked"].as_u64().zip(row["kinks"].as_u64()).map(|(a, b)| a + b);
    let parameters: u64 = rows[..10].iter().map(|row| seen(row).expect("numbers")).sum();
    assert_eq!(parameters, 41 * 6 + 12 + 7 * 4 + 8 + 5 * 10);

    let table = end(klayer(&folder, arguments).args(images())).well().stdout;
    assert_no_nan(&table);
    assert_eq!(table.lines().count(), 1 + 20 + 1, "{table}");

    let wide = line(&end(klayer(&folder, arguments).args(["--sigma", "0.5", "--json"]).args(images())).well());
    assert_eq!(wide["config"]["init"]["normal"]["sigma"], 0.5);
    assert_ne!(wide["rows"][0]["sum_numerical"], rows[0]["sum_numerical"], "other weights, other gradients");

    // A tolerance below the rounding errors.
    let ended = end(klayer(&folder, arguments).args(["--tolerance", "1e-16", "--json"]).args(images()));
    assert_eq!(ended.code, Some(1));
    assert_eq!(line(&ended)["passed"], false, "the result is printed anyway");
    assert!(ended.stderr.contains("error: the gradients differ: the largest relative error is "), "{}", ended.stderr);

    for (switches, expected) in [
        ("--features 4000", "the number of features is 4000"),
        ("--h 0", "step of the differences is 0"),
        ("--eps -1", "eps is -1"),
        ("--lambda -1", "lambda is -1"),
        ("--batch 1", "at least two images"),
        ("--sigma 0", "standard deviation of the initial weights is 0"),
    ] {
        let mut command = klayer(&folder, "gradcheck --hidden 3");
        if !switches.starts_with("--features") {
            command.args(["--features", "5"]);
        }
        let ended = end(command.args(switches.split(' ')).args(images()));
        assert!(ended.code == Some(1) && ended.stderr.contains(expected), "{switches}: {ended:?}");
    }
}
