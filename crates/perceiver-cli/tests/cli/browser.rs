//! Pages in a real browser: `cargo xtask browser-tests`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::{Rgb, RgbImage};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::support::{arguments, copy, fixture, image_settings, photo, run};

const SIDE: u32 = 800;

/// A page in Debian's chromium: its document after the scripts have run, and a screenshot.
fn browse(page: &Path) -> (String, RgbImage) {
    let folder = tempdir().unwrap();
    let picture = folder.path().join("page.png");
    let chromium = |options: &[String]| {
        let ran = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"])
            .arg(format!("--user-data-dir={}", folder.path().display()))
            .args([format!("--window-size={SIDE},{SIDE}"), "--virtual-time-budget=2000".into()])
            .args(options)
            .arg(format!("file://{}", page.display()))
            .output()
            .expect("chromium starts");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    };
    chromium(&[format!("--screenshot={}", picture.display())]);
    let document = chromium(&["--dump-dom".to_owned()]);
    (document, image::open(&picture).unwrap().to_rgb8())
}

/// Returns true if a pixel has this colour, up to a browser's rounding.
fn shows(picture: &RgbImage, colour: [u8; 3]) -> bool {
    let alike = |Rgb(pixel): &Rgb<u8>| pixel.iter().zip(colour).all(|(a, b)| a.abs_diff(b) <= 2);
    picture.pixels().any(alike)
}

/// Adds a script to a page that acts as the reader.
fn act(page: &Path, script: &str) {
    let text = fs::read_to_string(page).unwrap();
    let script = format!("<script type=\"module\">{script}</script></body>");
    fs::write(page, text.replace("</body>", &script)).unwrap();
}

/// The page's text about the position under the pointer.
fn said(document: &str) -> &str {
    let (_, rest) = document.split_once("<output>").unwrap();
    rest.split_once("</output>").unwrap().0
}

fn attend(arguments: Vec<std::ffi::OsString>) -> (TempDir, PathBuf, Value) {
    let folder = tempdir().unwrap();
    let page = folder.path().join("map.html");
    let mut all = arguments!["attend", "--json", "-o", &page];
    all.extend(arguments);
    let place = run(all).json()["maps"][0]["places"][0].clone();
    (folder, page, place)
}

#[test]
#[ignore = "needs chromium"]
fn a_text_is_coloured_and_tells_its_weights() {
    let model = fixture("masked_lm");
    let (_folder, page, place) =
        attend(arguments!["--model", model, "--text", "!#[MASK] &\"", "--head", "0"]);
    act(
        &page,
        "const all = [...document.querySelectorAll('.text span')];
         const weight = (span) => Number(span.style.getPropertyValue('--w'));
         const strongest = all.reduce((a, b) => weight(a) >= weight(b) ? a : b);
         strongest.dispatchEvent(new PointerEvent('pointerover', { bubbles: true }));",
    );
    let (document, picture) = browse(&page);
    assert!(shows(&picture, [245, 159, 0]), "nothing has the strongest colour");
    let percent = format!("{:.1} %", place["weight"].as_f64().unwrap() * 100.0);
    assert!(said(&document).ends_with(&percent), "{} is not {percent}", said(&document));
}

#[test]
#[ignore = "needs chromium"]
fn a_photo_glows_where_the_weight_is() {
    let folder = tempdir().unwrap();
    let model = copy("image_fourier", folder.path());
    image_settings(&model, 8);
    let path = folder.path().join("photo.png");
    photo(&path, 20, 20);
    let (_folder, page, place) = attend(arguments!["--model", model, path]);
    let (row, column) = (place["row"].as_u64().unwrap(), place["column"].as_u64().unwrap());
    act(
        &page,
        &format!(
            "const photo = document.querySelector('.photo');
             const box = photo.getBoundingClientRect();
             const at = {{ clientX: box.left + ({column} + 0.5) * box.width / 8,
               clientY: box.top + ({row} + 0.5) * box.height / 8 }};
             photo.dispatchEvent(new PointerEvent('pointermove', at));"
        ),
    );
    let (document, picture) = browse(&page);
    assert!(said(&document).starts_with(&format!("row {row}, column {column}: at least ")));
    // The brightest colour of `inferno` over any grey.
    let glows =
        |Rgb([red, green, blue]): &Rgb<u8>| *red > 210 && *green > 210 && (130..190).contains(blue);
    assert!(picture.pixels().filter(|pixel| glows(pixel)).count() > 1000);
}
