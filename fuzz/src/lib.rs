//! The functions that fuzz targets call, one for each parser of files from outside.
//!
//! A function returns true if the parser accepts the bytes. It panics if the parser does, or if the
//! parser's answer breaks a promise. `tests/fuzz_seeds.rs` calls the same functions with the
//! committed seeds.

use std::fs;
use std::io::Cursor;
use std::panic::PanicHookInfo;
use std::path::Path;

use image::ImageReader;
use perceiver_data::flow::read_flow;
use perceiver_data::{
    EncodeOptions, IdxImages, LabelColumns, PerceiverImageProcessor, PerceiverTokenizer, RgbImage,
    Size, TextColumns, TextTable, decode_image, decode_text, read_frames, read_sound,
};
use perceiver_models::{Checkpoint, PerceiverConfig};
use perceiver_train::recipe::Recipe;

/// True if the parser accepts the bytes.
pub type Target = fn(&[u8]) -> bool;

/// Every target's name and function.
pub const TARGETS: [(&str, Target); 17] = [
    ("animation", animation),
    ("config", config),
    ("flow_file", flow_file),
    ("idx", idx),
    ("image", image),
    ("image_processor", image_processor),
    ("pickle", pickle),
    ("recipe", recipe),
    ("safetensors", safetensors),
    ("safetensors_index", safetensors_index),
    ("sound", sound),
    ("table_csv", table_csv),
    ("table_json", table_json),
    ("table_json_lines", table_json_lines),
    ("text", text),
    ("tokenizer", tokenizer),
    ("weight_folder", weight_folder),
];

/// Largest pictures that targets decode: larger ones are valid, and only slow.
const MAX_PIXELS: u64 = 1 << 20;

/// Largest tensors that targets read: a view with a stride of zero may be far larger than its file.
const MAX_ELEMENTS: usize = 1 << 20;

/// Separates the files of targets that read several; JSON cannot hold it.
const NEXT_FILE: u8 = 0;

/// `config.json`. A configuration that is written and read again is the same.
pub fn config(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let Ok(config) = PerceiverConfig::from_json(text) else { return false };
    let written = config.to_json();
    let again = PerceiverConfig::from_json(&written);
    let again = again.unwrap_or_else(|error| panic!("refuses its own text: {error}\n{written}"));
    assert_eq!(again.to_json(), written);
    true
}

/// `model.safetensors`. Every tensor has the shape that its header gives.
pub fn safetensors(bytes: &[u8]) -> bool {
    Checkpoint::from_bytes("model.safetensors", bytes).is_ok_and(read_tensors)
}

/// `model.safetensors.index.json` beside two shards.
pub fn safetensors_index(bytes: &[u8]) -> bool {
    let shard = |key: &str| {
        let header = format!(r#"{{"{key}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}}"#);
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 4]].concat()
    };
    let (first, second) = (shard("a"), shard("b"));
    let files: [(&str, &[u8]); 3] = [
        ("model.safetensors.index.json", bytes),
        ("1.safetensors", &first),
        ("2.safetensors", &second),
    ];
    Checkpoint::from_files(&files).is_ok_and(read_tensors)
}

/// `pytorch_model.bin`.
pub fn pickle(bytes: &[u8]) -> bool {
    with_file("pytorch_model.bin", bytes, |path| Checkpoint::open(path).is_ok_and(read_tensors))
}

/// A file of any kind in the place of the weights.
pub fn weight_folder(bytes: &[u8]) -> bool {
    with_file("model.safetensors", bytes, |path| {
        accepted(Checkpoint::open(path.parent().unwrap_or(path)))
    })
}

/// `tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json` and a text to encode.
pub fn tokenizer(bytes: &[u8]) -> bool {
    let parts = parts::<4>(bytes);
    let names = ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"];
    let files: Vec<(&str, &[u8])> =
        names.into_iter().zip(parts).filter(|(_, bytes)| !bytes.is_empty()).collect();
    let Ok(tokenizer) = PerceiverTokenizer::from_files(&files) else { return false };
    let text = String::from_utf8_lossy(parts[3]);
    let encoding = tokenizer.encode(text.as_ref(), &EncodeOptions::default());
    let Ok(encoding) = encoding else { return false };
    for span in encoding.offsets.iter().flatten() {
        assert!(text.as_bytes().get(span.start..span.end).is_some(), "{span:?} of {text:?}");
    }
    let decoded = tokenizer.decode(&encoding.input_ids, false);
    decoded.unwrap_or_else(|error| panic!("cannot decode its own tokens: {error}"));
    true
}

/// `preprocessor_config.json` and `processor_config.json`.
pub fn image_processor(bytes: &[u8]) -> bool {
    let [own, combined] = parts(bytes);
    let files: [(&str, &[u8]); 2] =
        [("preprocessor_config.json", own), ("processor_config.json", combined)];
    let files: Vec<_> = files.into_iter().filter(|(_, bytes)| !bytes.is_empty()).collect();
    let processor = PerceiverImageProcessor::from_files_if_present(&files);
    let Ok(Some(processor)) = processor else { return false };
    let is_small = match processor.size() {
        Size::Exact { height, width } => u64::from(height) * u64::from(width) <= MAX_PIXELS,
        Size::ShortestEdge { shortest, .. } => shortest <= 512,
        Size::Within { max_height, max_width } => max_height.max(max_width) <= 512,
        _ => false,
    };
    if is_small {
        // An image of which a crop leaves nothing is refused.
        let _ = processor.preprocess(&[RgbImage::new(5, 4)]);
    }
    true
}

/// PNG, JPEG, WebP, TIFF, BMP and GIF. An image that is accepted has pixels.
pub fn image(bytes: &[u8]) -> bool {
    if !has_few_pixels(bytes) {
        return false;
    }
    decode_image(bytes, "image").is_ok_and(|image| {
        assert!(image.width() > 0 && image.height() > 0);
        true
    })
}

/// Frames of GIF, WebP and APNG, one by one and by their time.
pub fn animation(bytes: &[u8]) -> bool {
    let is_animation = bytes.starts_with(b"GIF8")
        || bytes.starts_with(b"\x89PNG")
        || bytes.get(8..12) == Some(b"WEBP");
    if !is_animation || !has_few_pixels(bytes) {
        return false;
    }
    with_file("animation", bytes, |path| {
        let each =
            read_frames(path).is_ok_and(|frames| frames.take(100).all(|frame| frame.is_ok()));
        let timed = read_frames(path).map(|frames| frames.at_rate(25.0).take(100).count());
        // Whatever is wrong one by one is wrong by time as well.
        if let (false, Ok(frames)) = (each, read_frames(path)) {
            let has_few = frames.info().frames.is_some_and(|frames| frames < 100);
            assert!(!has_few || frames.at_rate(1.0).any(|frame| frame.is_err()));
        }
        each && timed.is_ok()
    })
}

/// Middlebury's `.flo` and KITTI's PNG. All flow is finite.
pub fn flow_file(bytes: &[u8]) -> bool {
    has_few_pixels(bytes)
        && with_file("flow", bytes, |path| {
            read_flow(path).is_ok_and(|file| {
                assert!(file.flow.iter().all(|number| number.is_finite()));
                let (height, width, _) = file.flow.dim();
                assert_eq!(file.known.dim(), (height, width));
                true
            })
        })
}

/// WAV, FLAC, Ogg Vorbis and MP3. A sound that is accepted has samples.
pub fn sound(bytes: &[u8]) -> bool {
    with_file("sound", bytes, |path| {
        read_sound(path).is_ok_and(|sound| {
            assert!(!sound.samples.is_empty() && sound.rate > 0);
            true
        })
    })
}

/// Images in an IDX file, with one label.
pub fn idx(bytes: &[u8]) -> bool {
    const LABELS: [u8; 9] = [0, 0, 8, 1, 0, 0, 0, 1, 7];
    with_file("images", bytes, |images| {
        let labels = images.with_file_name("labels");
        fs::write(&labels, LABELS).is_ok() && IdxImages::open(images, &labels).is_ok()
    })
}

/// Texts and labels in CSV.
pub fn table_csv(bytes: &[u8]) -> bool {
    table("table.csv", bytes)
}

/// Texts and labels in a JSON array.
pub fn table_json(bytes: &[u8]) -> bool {
    table("table.json", bytes)
}

/// Texts and labels in JSON lines.
pub fn table_json_lines(bytes: &[u8]) -> bool {
    table("table.jsonl", bytes)
}

fn table(name: &str, bytes: &[u8]) -> bool {
    let columns = |label| TextColumns { text: "text".to_owned(), label };
    let class = columns(LabelColumns::Class("label".to_owned()));
    let values = columns(LabelColumns::Values(vec!["label".to_owned()]));
    with_file(name, bytes, |path| {
        let _ = TextTable::open(path, &values, None);
        accepted(TextTable::open(path, &class, None))
    })
}

/// A text, plain or gzipped, in UTF-8 or UTF-16.
pub fn text(bytes: &[u8]) -> bool {
    accepted(decode_text(bytes.to_vec(), "text"))
}

/// A recipe, and the configuration that it describes.
pub fn recipe(bytes: &[u8]) -> bool {
    with_file("recipe.toml", bytes, |path| {
        accepted(Recipe::from_file(path).and_then(|recipe| recipe.config(&[])))
    })
}

/// Lets decoders of other crates panic where their caller catches it, which libFuzzer's hook does
/// not; a panic of ours ends the process.
#[allow(clippy::print_stderr, reason = "the only trace of a panic before the process ends")]
pub fn let_decoders_panic() {
    std::panic::set_hook(Box::new(|panic| {
        if is_ours(panic) {
            eprintln!("{panic}");
            std::process::abort();
        }
    }));
}

/// True if the place of a panic is in this repository.
pub fn is_ours(panic: &PanicHookInfo<'_>) -> bool {
    panic.location().is_some_and(|place| {
        let file = place.file().replace('\\', "/");
        file.contains("crates/perceiver-") || file.contains("fuzz/src/")
    })
}

fn read_tensors(checkpoint: Checkpoint<'_>) -> bool {
    for (key, info) in checkpoint.tensors() {
        if info.elements() <= MAX_ELEMENTS
            && let Ok(data) = checkpoint.read(key)
        {
            assert_eq!(data.shape().as_slice(), info.shape, "{key}");
        }
    }
    true
}

/// True unless the header of a picture gives more pixels than a target decodes.
fn has_few_pixels(bytes: &[u8]) -> bool {
    let few = |width: u64, height: u64| width * height <= MAX_PIXELS;
    let big_endian = |bytes: &[u8]| u64::from(bytes[0]) << 8 | u64::from(bytes[1]);
    if bytes.starts_with(&[0xff, 0xd8]) {
        let frames = bytes.windows(9).filter(|window| matches!(window, [0xff, 0xc0..=0xcf, ..]));
        return frames
            .into_iter()
            .all(|frame| few(big_endian(&frame[5..]), big_endian(&frame[7..])));
    }
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok();
    let sides = reader.and_then(|reader| reader.into_dimensions().ok());
    sides.is_none_or(|(width, height)| few(width.into(), height.into()))
}

/// The files in one input; absent ones are empty.
fn parts<const N: usize>(bytes: &[u8]) -> [&[u8]; N] {
    let mut parts = bytes.splitn(N, |byte| *byte == NEXT_FILE);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// True if there is no error; the message of one is a single line.
fn accepted<T, E: std::fmt::Display>(result: Result<T, E>) -> bool {
    if let Err(error) = &result {
        let message = error.to_string();
        assert!(!message.contains('\n'), "{message}");
    }
    result.is_ok()
}

/// The answer of `read` about a file of these bytes, alone in its folder.
fn with_file(name: &str, bytes: &[u8], read: impl FnOnce(&Path) -> bool) -> bool {
    let written = tempfile::tempdir().and_then(|folder| {
        fs::write(folder.path().join(name), bytes)?;
        Ok(folder)
    });
    match written {
        Ok(folder) => read(&folder.path().join(name)),
        Err(error) => panic!("the folder of temporary files: {error}"),
    }
}
