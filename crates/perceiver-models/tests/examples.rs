//! Every example runs to its end.
#![cfg(feature = "flex")]
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed test may panic")]

macro_rules! example {
    ($name:ident) => {
        mod $name {
            include!(concat!("../examples/", stringify!($name), ".rs"));

            #[test]
            fn runs() {
                main().unwrap();
            }
        }
    };
}

example!(custom_head);
example!(encode_once_decode_often);
