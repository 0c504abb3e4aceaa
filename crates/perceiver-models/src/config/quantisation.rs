//! The `quantization_config` of a config.json: weights of linear layers in 8 bits.

use serde_json::{Map, Value, json};

use super::parse::unexpected;
use crate::Error;

/// The field of config.json.
const FIELD: &str = "quantization_config";

/// Linear layers whose weights are stored in 8 bits.
///
/// A weight is an integer from -127 to 127 times the scale of its output channel, and its file is a
/// quarter as large as in single precision. The format is that of the Python package
/// `compressed-tensors`, which transformers loads. [`quantisation`](crate::quantisation) chooses
/// the layers.
///
/// # Differences
/// transformers also rounds the inputs of these layers to 8 bits, row by row. Ours computes with the
/// rounded weights in floating point.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quantisation {
    /// Linear layers that keep their floating-point weights, by the names they have in the keys of
    /// the checkpoint, such as `perceiver.decoder.decoding_cross_attention.mlp.dense1`.
    pub ignore: Vec<String>,
}

impl Quantisation {
    /// Reads the field; any other scheme than [`to_json`](Self::to_json) writes is refused.
    pub(super) fn from_json(value: &Value) -> Result<Self, Error> {
        let fields = object(FIELD, value)?;
        expect(FIELD, fields, "quant_method", &json!("compressed-tensors"))?;
        expect(FIELD, fields, "format", &json!("int-quantized"))?;
        expect(FIELD, fields, "quantization_status", &json!("compressed"))?;
        for absent in ["kv_cache_scheme", "sparsity_config", "transform_config"] {
            expect_nothing(FIELD, fields, absent)?;
        }
        let name = format!("{FIELD}.config_groups");
        let groups = object(&name, fields.get("config_groups").unwrap_or(&Value::Null))?;
        let mut groups_of_layers = groups.iter();
        let (Some((group, scheme)), None) = (groups_of_layers.next(), groups_of_layers.next())
        else {
            return Err(Error::config(name, format!("has {} groups, expected one", groups.len())));
        };
        Self::check_group(&format!("{name}.{group}"), scheme)?;
        Ok(Self { ignore: layers(fields.get("ignore"))? })
    }

    fn check_group(name: &str, scheme: &Value) -> Result<(), Error> {
        let fields = object(name, scheme)?;
        expect(name, fields, "targets", &json!(["Linear"]))?;
        if fields.get("format").is_some_and(|format| !format.is_null()) {
            expect(name, fields, "format", &json!("int-quantized"))?;
        }
        expect_nothing(name, fields, "output_activations")?;
        for (part, strategy, dynamic) in
            [("weights", "channel", false), ("input_activations", "token", true)]
        {
            let name = format!("{name}.{part}");
            let fields = object(&name, fields.get(part).unwrap_or(&Value::Null))?;
            expect(&name, fields, "num_bits", &json!(8))?;
            expect(&name, fields, "type", &json!("int"))?;
            expect(&name, fields, "symmetric", &json!(true))?;
            expect(&name, fields, "strategy", &json!(strategy))?;
            // `compressed-tensors` takes an absent field for false.
            if dynamic || fields.contains_key("dynamic") {
                expect(&name, fields, "dynamic", &json!(dynamic))?;
            }
            expect_nothing(&name, fields, "block_structure")?;
            expect_nothing(&name, fields, "actorder")?;
        }
        Ok(())
    }

    pub(super) fn to_json(&self) -> Value {
        let scheme = |strategy: &str, dynamic: bool| {
            json!({
                "num_bits": 8,
                "type": "int",
                "symmetric": true,
                "strategy": strategy,
                "dynamic": dynamic,
            })
        };
        json!({
            "quant_method": "compressed-tensors",
            "format": "int-quantized",
            "quantization_status": "compressed",
            "ignore": self.ignore,
            "config_groups": {
                "group_0": {
                    "targets": ["Linear"],
                    "weights": scheme("channel", false),
                    "input_activations": scheme("token", true),
                },
            },
        })
    }
}

fn object<'a>(name: &str, value: &'a Value) -> Result<&'a Map<String, Value>, Error> {
    value.as_object().ok_or_else(|| unexpected(name, value, "an object"))
}

fn expect(
    name: &str,
    fields: &Map<String, Value>,
    field: &str,
    expected: &Value,
) -> Result<(), Error> {
    match fields.get(field).unwrap_or(&Value::Null) {
        found if found == expected => Ok(()),
        found => Err(unexpected(&format!("{name}.{field}"), found, &expected.to_string())),
    }
}

/// Refuses a field that is neither absent nor null nor empty.
fn expect_nothing(name: &str, fields: &Map<String, Value>, field: &str) -> Result<(), Error> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Object(fields)) if fields.is_empty() => Ok(()),
        Some(found) => Err(unexpected(&format!("{name}.{field}"), found, "null")),
    }
}

fn layers(value: Option<&Value>) -> Result<Vec<String>, Error> {
    let name = format!("{FIELD}.ignore");
    let value = value.unwrap_or(&Value::Null);
    let expected = "a list of layers' names without patterns";
    let names = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Array(names) => names,
        _ => return Err(unexpected(&name, value, expected)),
    };
    let layer = |value: &Value| match value.as_str() {
        Some(layer) if !layer.starts_with("re:") => Ok(layer.to_owned()),
        _ => Err(Error::config(&name, format!("names {value}, expected {expected}"))),
    };
    names.iter().map(layer).collect()
}
