use std::panic::{AssertUnwindSafe, catch_unwind};

use klayer_linalg::Par;

/// Whichever part panics, the threads that wait for it return, and the panic propagates.
#[test]
fn a_panic_on_one_thread_reaches_the_caller() {
    let par = Par::threads(2).expect("two threads");
    for broken in [0, 1] {
        let work = || {
            par.install(|| {
                par.for_lines(&mut [0; 2], 1, 1, &|first, lines: &mut [i32]| {
                    assert!(first != broken, "broken");
                    lines[0] = 1;
                });
            });
        };
        assert!(catch_unwind(AssertUnwindSafe(work)).is_err(), "part {broken}");
    }
}
