//! Conversion between a [`PerceiverConfig`] and its JSON.

use std::collections::BTreeMap;

use burn::tensor::FloatDType;
use perceiver_core::Activation;
use serde_json::{Map, Value, json};

use super::labels::Labels;
use super::{CrossAttentionShape, ImageSize, PerceiverConfig, ProblemType, Quantisation};
use crate::Error;
use crate::files::json_error;

/// PyTorch's names of float types; the first of each type is written.
const DTYPES: [(&str, FloatDType); 7] = [
    ("float32", FloatDType::F32),
    ("float16", FloatDType::F16),
    ("bfloat16", FloatDType::BF16),
    ("float64", FloatDType::F64),
    ("float", FloatDType::F32),
    ("half", FloatDType::F16),
    ("double", FloatDType::F64),
];

pub(super) fn from_json(text: &str) -> Result<PerceiverConfig, Error> {
    let value: Value = serde_json::from_str(text).map_err(|error| json_error(&error, text))?;
    let Value::Object(map) = value else {
        return Err(Error::config("config", format!("is {}, expected an object", shown(&value))));
    };
    let mut fields = Fields(map);
    let mut config = PerceiverConfig::default();
    fields.model_type()?;
    fields.size("num_latents", &mut config.num_latents)?;
    fields.size("d_latents", &mut config.d_latents)?;
    fields.size("d_model", &mut config.d_model)?;
    fields.size("num_blocks", &mut config.num_blocks)?;
    fields.size("num_self_attends_per_block", &mut config.num_self_attends_per_block)?;
    fields.size("num_self_attention_heads", &mut config.num_self_attention_heads)?;
    fields.size("num_cross_attention_heads", &mut config.num_cross_attention_heads)?;
    config.qk_channels = fields.optional("qk_channels", WHOLE, size)?;
    config.v_channels = fields.optional("v_channels", WHOLE, size)?;
    fields.named(
        "cross_attention_shape_for_attention",
        &CrossAttentionShape::NAMES,
        &mut config.cross_attention_shape_for_attention,
    )?;
    fields.size("self_attention_widening_factor", &mut config.self_attention_widening_factor)?;
    fields.size("cross_attention_widening_factor", &mut config.cross_attention_widening_factor)?;
    fields.activation(&mut config.hidden_act)?;
    fields.float("attention_probs_dropout_prob", &mut config.attention_probs_dropout_prob)?;
    fields.float("initializer_range", &mut config.initializer_range)?;
    fields.float("layer_norm_eps", &mut config.layer_norm_eps)?;
    fields.switch("use_query_residual", &mut config.use_query_residual)?;
    fields.size("vocab_size", &mut config.vocab_size)?;
    fields.size("max_position_embeddings", &mut config.max_position_embeddings)?;
    fields.required(
        "image_size",
        "a whole number or a list of two",
        image_size,
        &mut config.image_size,
    )?;
    fields.required("train_size", SIZES, sizes, &mut config.train_size)?;
    fields.size("num_frames", &mut config.num_frames)?;
    fields.size("audio_samples_per_frame", &mut config.audio_samples_per_frame)?;
    fields.size("samples_per_patch", &mut config.samples_per_patch)?;
    fields.required("output_shape", SIZES, sizes, &mut config.output_shape)?;
    fields.size("output_num_channels", &mut config.output_num_channels)?;
    fields.size("_label_trainable_num_channels", &mut config.label_trainable_num_channels)?;
    if let Some(names) = fields.optional("architectures", "a list of strings", strings)? {
        config.architectures = names;
    }
    let count = fields.optional("num_labels", WHOLE, size)?;
    let Labels { id2label, label2id } =
        Labels::read(fields.given("id2label"), fields.given("label2id"), count)?;
    (config.id2label, config.label2id) = (id2label, label2id);
    config.problem_type = fields.optional_named("problem_type", &ProblemType::NAMES)?;
    if let Some(tokens) = fields.optional("chunk_size_feed_forward", WHOLE, size)? {
        config.chunk_size_feed_forward = tokens;
    }
    fields.optional_switch("output_attentions", &mut config.output_attentions)?;
    fields.optional_switch("output_hidden_states", &mut config.output_hidden_states)?;
    fields.optional_switch("return_dict", &mut config.return_dict)?;
    let legacy = fields.given("torch_dtype");
    config.dtype = match fields.given("dtype") {
        Some(value) => Some(dtype("dtype", &value)?),
        None => legacy.map(|value| dtype("torch_dtype", &value)).transpose()?,
    };
    let quantisation = fields.given("quantization_config");
    config.quantisation = quantisation.as_ref().map(Quantisation::from_json).transpose()?;
    config.extra = fields.0;
    Ok(config)
}

pub(super) fn to_json(config: &PerceiverConfig) -> String {
    let mut fields = BTreeMap::from([
        ("model_type", json!("perceiver")),
        ("num_latents", json!(config.num_latents)),
        ("d_latents", json!(config.d_latents)),
        ("d_model", json!(config.d_model)),
        ("num_blocks", json!(config.num_blocks)),
        ("num_self_attends_per_block", json!(config.num_self_attends_per_block)),
        ("num_self_attention_heads", json!(config.num_self_attention_heads)),
        ("num_cross_attention_heads", json!(config.num_cross_attention_heads)),
        ("qk_channels", json!(config.qk_channels)),
        ("v_channels", json!(config.v_channels)),
        (
            "cross_attention_shape_for_attention",
            name_of(&CrossAttentionShape::NAMES, config.cross_attention_shape_for_attention),
        ),
        ("self_attention_widening_factor", json!(config.self_attention_widening_factor)),
        ("cross_attention_widening_factor", json!(config.cross_attention_widening_factor)),
        ("hidden_act", activation_name(config)),
        ("attention_probs_dropout_prob", json!(config.attention_probs_dropout_prob)),
        ("initializer_range", json!(config.initializer_range)),
        ("layer_norm_eps", json!(config.layer_norm_eps)),
        ("use_query_residual", json!(config.use_query_residual)),
        ("vocab_size", json!(config.vocab_size)),
        ("max_position_embeddings", json!(config.max_position_embeddings)),
        (
            "image_size",
            match config.image_size {
                ImageSize::Square(side) => json!(side),
                ImageSize::Rectangle(height, width) => json!([height, width]),
            },
        ),
        ("train_size", json!(config.train_size)),
        ("num_frames", json!(config.num_frames)),
        ("audio_samples_per_frame", json!(config.audio_samples_per_frame)),
        ("samples_per_patch", json!(config.samples_per_patch)),
        ("output_shape", json!(config.output_shape)),
        ("output_num_channels", json!(config.output_num_channels)),
        ("_label_trainable_num_channels", json!(config.label_trainable_num_channels)),
    ]);
    // The remaining fields belong to every transformers model, which leaves out defaults.
    let default = PerceiverConfig::default();
    if !config.architectures.is_empty() {
        fields.insert("architectures", json!(config.architectures));
    }
    if config.id2label != default.id2label || config.label2id.is_some() {
        let labels = config.id2label.iter().map(|(id, label)| (id.to_string(), json!(label)));
        fields.insert("id2label", Value::Object(labels.collect()));
        let inverse = || config.id2label.iter().map(|(id, label)| (label.clone(), *id)).collect();
        fields.insert("label2id", json!(config.label2id.clone().unwrap_or_else(inverse)));
    }
    if let Some(problem_type) = config.problem_type {
        fields.insert("problem_type", name_of(&ProblemType::NAMES, problem_type));
    }
    if config.chunk_size_feed_forward != default.chunk_size_feed_forward {
        fields.insert("chunk_size_feed_forward", json!(config.chunk_size_feed_forward));
    }
    for (name, value, usual) in [
        ("output_attentions", config.output_attentions, default.output_attentions),
        ("output_hidden_states", config.output_hidden_states, default.output_hidden_states),
        ("return_dict", config.return_dict, default.return_dict),
    ] {
        if value != usual {
            fields.insert(name, json!(value));
        }
    }
    if let Some(dtype) = config.dtype {
        fields.insert("dtype", name_of(&DTYPES, dtype));
    }
    if let Some(quantisation) = &config.quantisation {
        fields.insert("quantization_config", quantisation.to_json());
    }
    for (name, value) in &config.extra {
        fields.entry(name).or_insert_with(|| value.clone());
    }
    let fields: Map<String, Value> =
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    format!("{:#}\n", Value::Object(fields))
}

/// A name as an error shows it.
pub(crate) fn shown_name(name: &str) -> String {
    shown(&name.into())
}

/// A value as an error shows it: JSON, shortened if it is long.
pub(super) fn shown(value: &Value) -> String {
    const LONGEST: usize = 60;
    match value {
        Value::Array(items) if items.len() > LONGEST => format!("a list of {}", items.len()),
        Value::Object(fields) => format!("an object of {} fields", fields.len()),
        _ => {
            let text = value.to_string();
            match text.char_indices().nth(LONGEST) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text,
            }
        }
    }
}

const WHOLE: &str = "a whole number that is not negative";
const SIZES: &str = "a list of whole numbers";

/// The fields not yet taken; those left at the end are unknown, and kept.
struct Fields(Map<String, Value>);

impl Fields {
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.shift_remove(name)
    }

    /// The value of a field that is present and not null.
    fn given(&mut self, name: &str) -> Option<Value> {
        self.take(name).filter(|value| !value.is_null())
    }

    /// A field that keeps its default if it is absent, and must not be null.
    fn required<T>(
        &mut self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
        slot: &mut T,
    ) -> Result<(), Error> {
        if let Some(value) = self.take(name) {
            *slot = read(&value).ok_or_else(|| unexpected(name, &value, expected))?;
        }
        Ok(())
    }

    /// A field for which null means absent.
    fn optional<T>(
        &mut self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let value = self.given(name);
        let read = |value| read(&value).ok_or_else(|| unexpected(name, &value, expected));
        value.map(read).transpose()
    }

    fn size(&mut self, name: &str, slot: &mut usize) -> Result<(), Error> {
        self.required(name, WHOLE, size, slot)
    }

    fn float(&mut self, name: &str, slot: &mut f64) -> Result<(), Error> {
        self.required(name, "a number", Value::as_f64, slot)
    }

    fn switch(&mut self, name: &str, slot: &mut bool) -> Result<(), Error> {
        self.required(name, "true or false", Value::as_bool, slot)
    }

    fn optional_switch(&mut self, name: &str, slot: &mut bool) -> Result<(), Error> {
        if let Some(value) = self.optional(name, "true or false", truth)? {
            *slot = value;
        }
        Ok(())
    }

    fn named<T: Copy>(
        &mut self,
        name: &str,
        names: &[(&str, T)],
        slot: &mut T,
    ) -> Result<(), Error> {
        self.required(name, &one_of(names), |value| by_name(names, value), slot)
    }

    fn optional_named<T: Copy>(
        &mut self,
        name: &str,
        names: &[(&str, T)],
    ) -> Result<Option<T>, Error> {
        self.optional(name, &one_of(names), |value| by_name(names, value))
    }

    /// If the file uses another of transformers' names for the function, keeps that spelling among
    /// the unknown fields, so that it is written back.
    fn activation(&mut self, slot: &mut Activation) -> Result<(), Error> {
        let spelled = self.0.get("hidden_act").cloned();
        self.named("hidden_act", &Activation::NAMES, slot)?;
        if let Some(spelled) = spelled.filter(|name| *name != json!(slot.to_string())) {
            self.0.insert("hidden_act".into(), spelled);
        }
        Ok(())
    }

    fn model_type(&mut self) -> Result<(), Error> {
        let expected = "\"perceiver\"";
        let known = |value: &Value| (value.as_str() == Some("perceiver")).then_some(());
        self.optional("model_type", expected, known).map(drop)
    }
}

pub(super) fn unexpected(name: &str, value: &Value, expected: &str) -> Error {
    Error::config(name, format!("is {}, expected {expected}", shown(value)))
}

fn size(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|number| usize::try_from(number).ok())
}

fn sizes(value: &Value) -> Option<Vec<usize>> {
    value.as_array()?.iter().map(size).collect()
}

fn image_size(value: &Value) -> Option<ImageSize> {
    if let Some(side) = size(value) {
        return Some(ImageSize::Square(side));
    }
    match sizes(value)?[..] {
        [height, width] => Some(ImageSize::Rectangle(height, width)),
        _ => None,
    }
}

/// A list of strings, or the single string that some files have instead.
fn strings(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(name) => Some(vec![name.clone()]),
        Value::Array(names) => names.iter().map(|name| name.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

/// A switch, which the reference does not check: a number counts as Python counts it.
fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::Number(number) => Some(number.as_f64() != Some(0.0)),
        Value::String(text) => text.eq_ignore_ascii_case("true").then_some(true),
        _ => None,
    }
}

/// A type by PyTorch's name, with or without its module.
fn dtype(field: &str, value: &Value) -> Result<FloatDType, Error> {
    let name = value.as_str().unwrap_or_default();
    let name = name.strip_prefix("torch.").unwrap_or(name);
    by_name(&DTYPES, &name.into()).ok_or_else(|| unexpected(field, value, &one_of(&DTYPES)))
}

fn by_name<T: Copy>(names: &[(&str, T)], value: &Value) -> Option<T> {
    let name = value.as_str()?;
    names.iter().find(|(known, _)| *known == name).map(|&(_, named)| named)
}

fn name_of<T: Copy + PartialEq>(names: &[(&str, T)], named: T) -> Value {
    names.iter().find(|(_, known)| *known == named).map_or(Value::Null, |(name, _)| json!(name))
}

fn activation_name(config: &PerceiverConfig) -> Value {
    let spelled = config.extra.get("hidden_act");
    let same = |name: &&Value| by_name(&Activation::NAMES, name) == Some(config.hidden_act);
    spelled.filter(same).cloned().unwrap_or_else(|| json!(config.hidden_act.to_string()))
}

fn one_of<T>(names: &[(&str, T)]) -> String {
    let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
    format!("one of {}", names.join(", "))
}
