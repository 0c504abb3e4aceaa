#![allow(clippy::unwrap_used, reason = "a test may panic")]

use image::{Rgb, RgbImage};
use proptest::prelude::*;

use super::*;

fn parse(settings: &[u8]) -> Result<PerceiverImageProcessor> {
    PerceiverImageProcessor::from_files(&[("preprocessor_config.json", settings)])
}

fn processor(config: &str) -> PerceiverImageProcessor {
    parse(config.as_bytes()).unwrap()
}

#[test]
fn the_default_brings_images_of_any_size_to_one_batch() {
    let images = [RgbImage::new(640, 480), RgbImage::new(7, 300)];
    let values = PerceiverImageProcessor::default().preprocess(&images).unwrap();
    assert_eq!(values.dim(), (2, 3, 224, 224));
    // Black is minus the mean over the deviation.
    assert!((values[[1, 0, 5, 5]] + 0.485 / 0.229).abs() < 1e-5);
    assert!((values[[0, 2, 223, 0]] + 0.406 / 0.225).abs() < 1e-5);
}

#[test]
fn a_crop_is_the_centre_in_the_image_s_own_pixels() {
    let processor = processor(r#"{"size": 2, "crop_size": 4}"#);
    let photo = RgbImage::from_fn(12, 8, |x, y| Rgb([x as u8, y as u8, 0]));
    let crop = processor.crop(&photo).unwrap();
    // Half the shorter side in each direction.
    assert_eq!(crop.dimensions(), (4, 4));
    assert_eq!([*crop.get_pixel(0, 0), *crop.get_pixel(3, 3)], [Rgb([4, 2, 0]), Rgb([7, 5, 0])]);
}

#[test]
fn channels_rows_and_columns_keep_their_order() {
    let image = RgbImage::from_fn(3, 2, |x, y| Rgb([x as u8, y as u8, 9]));
    let off = r#"{"do_center_crop": false, "do_resize": false, "do_rescale": false,
        "do_normalize": false}"#;
    let values = processor(off).preprocess(&[image]).unwrap();
    assert_eq!(values.dim(), (1, 3, 2, 3));
    assert_eq!(values[[0, 0, 1, 2]], 2.0);
    assert_eq!(values[[0, 1, 1, 2]], 1.0);
    assert_eq!(values[[0, 2, 0, 0]], 9.0);
}

#[test]
fn fitted_images_have_the_values_of_preprocessed_ones() {
    let processor = processor(r#"{"size": 2, "crop_size": 4}"#);
    let photo = RgbImage::from_fn(12, 8, |x, y| Rgb([x as u8 * 20, y as u8 * 30, 0]));
    let fitted = processor.fit(&photo).unwrap();
    assert_eq!(fitted.dimensions(), (2, 2));
    assert_eq!(processor.values(&[fitted]).unwrap(), processor.preprocess(&[photo]).unwrap());
}

#[test]
fn a_resizing_processor_neither_crops_nor_keeps_the_aspect() {
    let processor = PerceiverImageProcessor::resizing(2, 4, [0.5; 3], [0.25; 3]);
    let values = processor.preprocess(&[RgbImage::from_pixel(9, 3, Rgb([255, 0, 255]))]).unwrap();
    assert_eq!(values.dim(), (1, 3, 2, 4));
    assert_eq!([values[[0, 0, 1, 3]], values[[0, 1, 0, 0]]], [2.0, -2.0]);
}

#[test]
fn the_published_form_of_the_settings_is_the_default() {
    let published = r#"{"crop_size": 256, "do_center_crop": true, "do_normalize": true,
        "do_resize": true, "feature_extractor_type": "PerceiverFeatureExtractor",
        "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225],
        "resample": 3, "size": 224}"#;
    assert_eq!(processor(published), PerceiverImageProcessor::default());
    assert_eq!(processor("{}"), PerceiverImageProcessor::default());
}

#[test]
fn images_that_do_not_fit_are_refused_with_their_place() {
    let message = |config: &str, images: &[RgbImage]| {
        processor(config).preprocess(images).unwrap_err().to_string()
    };
    assert_eq!(message("{}", &[]), "the batch has no images, expected at least one");
    assert_eq!(
        message("{}", &[RgbImage::new(9, 9), RgbImage::new(0, 9)]),
        "image 1 of 0x9 pixels: it has no pixels"
    );
    assert_eq!(
        message("{}", &[RgbImage::new(1, 30)]),
        "image 0 of 1x30 pixels: its centre crop of 0x0 pixels is empty"
    );
    assert_eq!(
        message(r#"{"size": 16384, "crop_size": 1}"#, &[RgbImage::new(9, 9)]),
        "image 0 of 9x9 pixels: its centre crop would have 147456x147456 pixels, expected at \
         most 268435456"
    );
    assert_eq!(
        message(r#"{"do_resize": false}"#, &[RgbImage::new(32, 40), RgbImage::new(64, 40)]),
        "image 1 of the batch is 35x35 pixels after processing, expected image 0's 28x28: \
         turn on `do_resize` or process one image at a time"
    );
}

#[test]
fn refused_settings_are_named_with_what_was_expected() {
    for (config, expected) in [
        ("nothing", "not valid JSON: expected ident at line 1 column 2"),
        (r#"{"size": 0}"#, "`size` is 0, expected sides from 1 to 16384 pixels"),
        (
            r#"{"crop_size": {"height": 2, "width": -2}}"#,
            "`crop_size` is {\"height\":2,\"width\":-2}, expected sides from 1 to 16384 pixels",
        ),
        (
            r#"{"size": {"height": 2}}"#,
            "`size` is {\"height\":2}, expected a number, `height` and `width`, `shortest_edge`, \
             `shortest_edge` and `longest_edge`, or `max_height` and `max_width`",
        ),
        (
            r#"{"size": {"shortest_edge": 2}}"#,
            "`size` is {\"shortest_edge\":2}, expected `height` and `width`, since \
             `do_center_crop` is on",
        ),
        (
            r#"{"resample": 6}"#,
            "`resample` is 6, expected 0 (nearest), 1 (Lanczos), 2 (bilinear), 3 (bicubic), 4 \
             (box) or 5 (Hamming)",
        ),
        (r#"{"resample": null}"#, "`resample` is null, expected a value, since `do_resize` is on"),
        (r#"{"rescale_factor": 0}"#, "`rescale_factor` is 0, expected a number other than zero"),
        (
            r#"{"image_mean": [0.5, 0.5]}"#,
            "`image_mean` is [0.5,0.5], expected a number or three numbers",
        ),
        (r#"{"image_std": [1, 0, 1]}"#, "`image_std` is [1,0,1], expected numbers other than zero"),
        (r#"{"do_resize": "yes"}"#, "`do_resize` is \"yes\", expected true or false"),
        (
            r#"{"image_processor_type": "ViTImageProcessor"}"#,
            "`image_processor_type` is \"ViTImageProcessor\", expected `PerceiverImageProcessor`",
        ),
    ] {
        let message = parse(config.as_bytes()).unwrap_err().to_string();
        assert_eq!(message, format!("preprocessor_config.json: {expected}"));
    }
}

#[test]
fn a_missing_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let message = PerceiverImageProcessor::from_pretrained(folder.path()).unwrap_err().to_string();
    assert!(message.contains("preprocessor_config.json: cannot read: "));
}

#[test]
fn a_missing_file_in_memory_is_named() {
    let message = PerceiverImageProcessor::from_files(&[]).unwrap_err().to_string();
    assert!(message.starts_with("preprocessor_config.json: cannot read: "), "{message}");
    assert_eq!(PerceiverImageProcessor::from_files_if_present(&[]).unwrap(), None);
}

#[test]
fn files_in_memory_are_bounded_as_files_on_disk_are() {
    let settings = vec![b' '; (1 << 20) + 1];
    let message = parse(&settings).unwrap_err().to_string();
    let expected = "preprocessor_config.json: 1048577 bytes, expected at most 1048576";
    assert_eq!(message, expected);
}

#[test]
fn a_folder_and_its_files_in_memory_give_the_same_processor() {
    let folder = tempfile::tempdir().unwrap();
    let files: [(&str, &[u8]); 2] = [
        ("processor_config.json", br#"{"image_processor": {"size": 11, "image_mean": 0.25}}"#),
        ("preprocessor_config.json", br#"{"size": 10}"#),
    ];
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let from_folder = PerceiverImageProcessor::from_pretrained(folder.path()).unwrap();
    assert_eq!(PerceiverImageProcessor::from_files(&files).unwrap(), from_folder);
}

#[test]
fn settings_inside_a_combined_file_come_first() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let square = |side| Size::Exact { height: side, width: side };
    let read = || PerceiverImageProcessor::from_pretrained(folder.path()).unwrap();
    write("preprocessor_config.json", r#"{"size": 10}"#);
    write("processor_config.json", r#"{"processor_class": "Other"}"#);
    assert_eq!(read().size(), square(10));
    write("processor_config.json", r#"{"image_processor": {"size": 11}}"#);
    assert_eq!(read().size(), square(11));
}

#[test]
fn settings_are_found_in_either_file_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let found = || PerceiverImageProcessor::from_pretrained_if_present(folder.path());
    let square = |side| Some(Size::Exact { height: side, width: side });
    let size = || found().unwrap().map(|processor| processor.size());
    assert_eq!(size(), None);
    write("processor_config.json", r#"{"processor_class": "Other"}"#);
    assert_eq!(size(), None);
    write("preprocessor_config.json", r#"{"size": 10}"#);
    assert_eq!(size(), square(10));
    write("processor_config.json", r#"{"image_processor": {"size": 11}}"#);
    assert_eq!(size(), square(11));
    write("processor_config.json", r#"{"image_processor": 11}"#);
    assert!(found().is_err());
}

proptest! {
    #[test]
    fn settings_of_arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn any_accepted_settings_process_or_refuse_any_image(
        width in 0_u32..40,
        height in 0_u32..40,
        size in 0_u32..60,
        crop in [0_u32..60, 0..60],
        edges: bool,
        resample in 0_u32..7,
        pil: bool,
        crops: bool,
    ) {
        let size = if edges {
            serde_json::json!({"shortest_edge": size, "longest_edge": crop[0]})
        } else {
            serde_json::json!([size, crop[1]])
        };
        let config = serde_json::json!({
            "size": size, "crop_size": crop, "resample": resample, "do_center_crop": crops,
        });
        if let Ok(processor) = parse(config.to_string().as_bytes()) {
            let backend = if pil { Backend::Pil } else { Backend::Torchvision };
            let image = RgbImage::new(width, height);
            let _ = processor.with_backend(backend).preprocess(&[image]);
        }
    }
}
