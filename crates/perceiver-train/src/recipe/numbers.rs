//! Errors about the numbers of a recipe: the key, its value and the permitted range.

use toml::Value;

/// The error about a number, unless it is in the range that `expected` describes.
pub(super) fn check(
    key: &str,
    value: f64,
    is_permitted: bool,
    expected: &str,
) -> Result<(), String> {
    match is_permitted {
        true => Ok(()),
        false => Err(format!("`{key}` is {}, expected a number {expected}", shown(value))),
    }
}

/// The first number of nested settings that is infinite or NaN, which config.json cannot hold.
pub(super) fn check_finite(key: &str, value: &Value) -> Result<(), String> {
    match value {
        Value::Float(number) if !number.is_finite() => {
            Err(format!("`{key}` is {number}, expected a finite number"))
        }
        Value::Array(values) => values.iter().try_for_each(|value| check_finite(key, value)),
        Value::Table(fields) => fields
            .iter()
            .try_for_each(|(name, value)| check_finite(&format!("{key}.{name}"), value)),
        _ => Ok(()),
    }
}

/// The number that a recipe says: not 0.10000000149 for 0.1.
pub(super) fn decimal(single: f32) -> f64 {
    single.to_string().parse().unwrap_or(f64::NAN)
}

/// A number in the notation that is shorter.
fn shown(value: f64) -> String {
    let (plain, scientific) = (value.to_string(), format!("{value:e}"));
    if scientific.len() < plain.len() { scientific } else { plain }
}

/// A parser's message with the words of recipes instead of Rust's types.
pub(super) fn without_types(message: &str) -> String {
    [
        ("expected usize", "expected a whole number"),
        ("expected u64", "expected a whole number"),
        ("expected u32", "expected a whole number"),
        ("expected f64", "expected a number"),
        ("expected f32", "expected a number"),
        ("expected path string", "expected a path in quotes"),
    ]
    .into_iter()
    .fold(message.to_owned(), |message, (from, to)| message.replace(from, to))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let error = |value| check("a", value, false, "above 0").unwrap_err();
        assert_eq!(error(1e300), "`a` is 1e300, expected a number above 0");
        assert_eq!(
            error(f64::MIN_POSITIVE),
            "`a` is 2.2250738585072014e-308, expected a number above 0"
        );
        assert_eq!(error(0.25), "`a` is 0.25, expected a number above 0");
        assert_eq!(error(f64::NAN), "`a` is NaN, expected a number above 0");
    }

    #[test]
    fn a_number_that_is_not_finite_is_named_by_its_key() {
        let fields: toml::Table = toml::from_str("a = 1\nb = { c = [1.0, nan] }").unwrap();
        let found = check_finite("model", &Value::Table(fields));
        assert_eq!(found.unwrap_err(), "`model.b.c` is NaN, expected a finite number");
    }
}
