//! `preprocessor_config.json`: read, checked, written.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{CHANNELS, PerceiverImageProcessor, Size};
use crate::error::Result;
use crate::json::{self, Settings, SettingsFiles};
use crate::resample::{Backend, Resample};

const FILE: &str = "preprocessor_config.json";

/// Newer multimodal checkpoints keep the settings of all modalities in one file.
const COMBINED_FILE: &str = "processor_config.json";
const COMBINED_FIELD: &str = "image_processor";

/// Longest side that a settings file may request, in pixels.
const MAX_SIDE: u64 = 1 << 14;

/// Fields that the processor holds itself, or that the reference drops.
const TAKEN_FIELDS: [&str; 14] = [
    "crop_size",
    "do_center_crop",
    "do_normalize",
    "do_rescale",
    "do_resize",
    "feature_extractor_type",
    "image_mean",
    "image_processor_type",
    "image_std",
    "processor_class",
    "resample",
    "rescale_factor",
    "size",
    "_valid_processor_keys",
];

pub(super) fn read(files: SettingsFiles<'_>) -> Result<PerceiverImageProcessor> {
    match combined(files)? {
        Some(settings) => from_settings(settings),
        None => from_settings(files.read(FILE)?),
    }
}

pub(super) fn read_if_present(files: SettingsFiles<'_>) -> Result<Option<PerceiverImageProcessor>> {
    let settings = match combined(files)? {
        None => files.read_if_present(FILE)?,
        settings => settings,
    };
    settings.map(from_settings).transpose()
}

/// The image settings of the combined file, if it has any.
fn combined(files: SettingsFiles<'_>) -> Result<Option<Settings>> {
    let combined = files.read_if_present(COMBINED_FILE)?;
    let Some(mut combined) = combined.filter(|file| file.get(COMBINED_FIELD).is_some()) else {
        return Ok(None);
    };
    match combined.fields.shift_remove(COMBINED_FIELD) {
        Some(Value::Object(fields)) => Ok(Some(Settings { path: combined.path, fields })),
        other => {
            let found = other.unwrap_or_default();
            Err(combined.refuse(COMBINED_FIELD, &found, "an object"))
        }
    }
}

fn from_settings(settings: Settings) -> Result<PerceiverImageProcessor> {
    let defaults = PerceiverImageProcessor::default();
    let processor = PerceiverImageProcessor {
        backend: backend(&settings)?,
        do_center_crop: switch(&settings, "do_center_crop")?,
        crop_size: size(&settings, "crop_size", true)?.unwrap_or(defaults.crop_size),
        do_resize: switch(&settings, "do_resize")?,
        size: size(&settings, "size", switch(&settings, "default_to_square")?)?
            .unwrap_or(defaults.size),
        resample: resample(&settings)?.unwrap_or(defaults.resample),
        do_rescale: switch(&settings, "do_rescale")?,
        rescale_factor: rescale_factor(&settings)?.unwrap_or(defaults.rescale_factor),
        do_normalize: switch(&settings, "do_normalize")?,
        image_mean: channels(&settings, "image_mean")?.unwrap_or(defaults.image_mean),
        image_std: channels(&settings, "image_std")?.unwrap_or(defaults.image_std),
        other_settings: Map::new(),
    };
    let steps: [(bool, &str, &[&str]); 4] = [
        (processor.do_center_crop, "do_center_crop", &["crop_size", "size"]),
        (processor.do_resize, "do_resize", &["size", "resample"]),
        (processor.do_rescale, "do_rescale", &["rescale_factor"]),
        (processor.do_normalize, "do_normalize", &["image_mean", "image_std"]),
    ];
    for (on, switch, fields) in steps {
        check_null(&settings, on, switch, fields)?;
    }
    if processor.do_center_crop {
        for (field, size) in [("size", processor.size), ("crop_size", processor.crop_size)] {
            if !matches!(size, Size::Exact { .. }) {
                let expected = "`height` and `width`, since `do_center_crop` is on";
                return Err(settings.refuse(field, &settings.fields[field], expected));
            }
        }
    }
    if processor.image_std.iter().any(|std| *std as f32 == 0.0) {
        let found = &settings.fields["image_std"];
        return Err(settings.refuse("image_std", found, "numbers other than zero"));
    }
    let mut other_settings = settings.fields;
    for field in TAKEN_FIELDS {
        other_settings.shift_remove(field);
    }
    Ok(PerceiverImageProcessor { other_settings, ..processor })
}

/// Every switch is on unless the file turns it off; `null` turns it off too.
fn switch(settings: &Settings, field: &str) -> Result<bool> {
    let unset = !settings.fields.contains_key(field);
    Ok(settings.bool(field)?.unwrap_or(unset))
}

/// Refuses a `null` field of a step that is on.
fn check_null(settings: &Settings, on: bool, switch: &str, fields: &[&str]) -> Result<()> {
    let null = |field: &&&str| settings.fields.get(**field).is_some_and(Value::is_null);
    match fields.iter().find(null) {
        Some(field) if on => {
            let expected = format!("a value, since `{switch}` is on");
            Err(settings.refuse(field, &Value::Null, expected))
        }
        _ => Ok(()),
    }
}

fn backend(settings: &Settings) -> Result<Backend> {
    let mut backend = Backend::Torchvision;
    for field in ["feature_extractor_type", "image_processor_type"] {
        backend = match settings.str(field)? {
            None => continue,
            Some("PerceiverImageProcessorPil") => Backend::Pil,
            Some(
                "PerceiverImageProcessor"
                | "PerceiverImageProcessorFast"
                | "PerceiverFeatureExtractor",
            ) => Backend::Torchvision,
            Some(other) => {
                let expected = "`PerceiverImageProcessor`";
                return Err(settings.refuse(field, &Value::from(other), expected));
            }
        };
    }
    Ok(backend)
}

fn resample(settings: &Settings) -> Result<Option<Resample>> {
    let Some(value) = settings.get("resample") else {
        return Ok(None);
    };
    value
        .as_u64()
        .and_then(|number| Resample::NUMBERED.get(usize::try_from(number).ok()?).copied())
        .map(Some)
        .ok_or_else(|| {
            let expected = "0 (nearest), 1 (Lanczos), 2 (bilinear), 3 (bicubic), 4 (box) or \
                            5 (Hamming)";
            settings.refuse("resample", value, expected)
        })
}

fn rescale_factor(settings: &Settings) -> Result<Option<f64>> {
    let Some(value) = settings.get("rescale_factor") else {
        return Ok(None);
    };
    match value.as_f64() {
        Some(factor) if (factor as f32).is_normal() && (1.0 / factor).is_normal() => {
            Ok(Some(factor))
        }
        _ => Err(settings.refuse("rescale_factor", value, "a number other than zero")),
    }
}

/// One number per channel, or one for all channels.
fn channels(settings: &Settings, field: &str) -> Result<Option<[f64; CHANNELS]>> {
    let Some(value) = settings.get(field) else {
        return Ok(None);
    };
    let numbers: Option<Vec<f64>> = match value {
        Value::Array(values) => values.iter().map(Value::as_f64).collect(),
        other => other.as_f64().map(|number| vec![number]),
    };
    let numbers = numbers.filter(|numbers| numbers.iter().all(|n| (*n as f32).is_finite()));
    match numbers.as_deref() {
        Some(&[number]) => Ok(Some([number; CHANNELS])),
        Some(&[red, green, blue]) => Ok(Some([red, green, blue])),
        _ => Err(settings.refuse(field, value, "a number or three numbers")),
    }
}

fn size(settings: &Settings, field: &str, square: bool) -> Result<Option<Size>> {
    let Some(value) = settings.get(field) else {
        return Ok(None);
    };
    let side = |side: &Value| {
        let side = side.as_u64().filter(|side| (1..=MAX_SIDE).contains(side));
        side.and_then(|side| u32::try_from(side).ok()).ok_or_else(|| {
            let expected = format!("sides from 1 to {MAX_SIDE} pixels");
            settings.refuse(field, value, expected)
        })
    };
    let unknown = || {
        let expected = "a number, `height` and `width`, `shortest_edge`, `shortest_edge` and \
                        `longest_edge`, or `max_height` and `max_width`";
        settings.refuse(field, value, expected)
    };
    let size = match value {
        Value::Number(_) if square => {
            let side = side(value)?;
            Size::Exact { height: side, width: side }
        }
        Value::Number(_) => Size::ShortestEdge { shortest: side(value)?, longest: None },
        Value::Array(sides) => match sides.as_slice() {
            [height, width] => Size::Exact { height: side(height)?, width: side(width)? },
            _ => return Err(unknown()),
        },
        Value::Object(sides) => {
            let get = |name: &str| sides.get(name).map(&side).transpose();
            let known = (
                get("height")?,
                get("width")?,
                get("shortest_edge")?,
                get("longest_edge")?,
                get("max_height")?,
                get("max_width")?,
            );
            match (known, sides.len()) {
                ((Some(height), Some(width), None, None, None, None), 2) => {
                    Size::Exact { height, width }
                }
                ((None, None, Some(shortest), longest, None, None), 1 | 2)
                    if sides.len() == 1 + usize::from(longest.is_some()) =>
                {
                    Size::ShortestEdge { shortest, longest }
                }
                ((None, None, None, None, Some(max_height), Some(max_width)), 2) => {
                    Size::Within { max_height, max_width }
                }
                _ => return Err(unknown()),
            }
        }
        _ => return Err(unknown()),
    };
    Ok(Some(size))
}

fn size_as_json(size: Size) -> Value {
    match size {
        Size::Exact { height, width } => json!({"height": height, "width": width}),
        Size::ShortestEdge { shortest, longest: None } => json!({"shortest_edge": shortest}),
        Size::ShortestEdge { shortest, longest: Some(longest) } => {
            json!({"shortest_edge": shortest, "longest_edge": longest})
        }
        Size::Within { max_height, max_width } => {
            json!({"max_height": max_height, "max_width": max_width})
        }
    }
}

/// Writes the fields of the reference's `save_pretrained`, which names the class without its
/// variant, and every other field that was read.
pub(super) fn write(processor: &PerceiverImageProcessor, folder: &Path) -> Result<()> {
    let resample = Resample::NUMBERED.iter().position(|resample| *resample == processor.resample);
    let known = json!({
        "crop_size": size_as_json(processor.crop_size),
        "do_center_crop": processor.do_center_crop,
        "do_normalize": processor.do_normalize,
        "do_rescale": processor.do_rescale,
        "do_resize": processor.do_resize,
        "image_mean": processor.image_mean,
        "image_processor_type": "PerceiverImageProcessor",
        "image_std": processor.image_std,
        "resample": resample,
        "rescale_factor": processor.rescale_factor,
        "size": size_as_json(processor.size),
    });
    let mut fields = processor.other_settings.clone();
    if let Value::Object(known) = known {
        fields.extend(known);
    }
    json::write(&folder.join(FILE), fields)
}
