//! Every example runs to its end.
#![cfg(feature = "flex")]
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

macro_rules! example {
    ($name:ident) => {
        mod $name {
            include!(concat!("../examples/", stringify!($name), ".rs"));

            #[test]
            fn it_runs() {
                main().unwrap();
            }
        }
    };
}

example!(fill_mask);
example!(classify_photo);
example!(optical_flow);
example!(embed_in_a_program);
example!(choose_a_device);
