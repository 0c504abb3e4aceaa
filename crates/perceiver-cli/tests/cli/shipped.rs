//! The models that come with the program.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::run;

fn models() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_text_without_a_model_is_filled_by_the_programs_own() {
    let filled = run(["fill-mask", "Elizabeth could [MASK][MASK][MASK] believe it.", "--json"]);
    assert!(filled.stderr.contains("model: language, which comes with this"), "{filled:?}");
    assert_eq!(filled.json()["filled"], "Elizabeth could not believe it.");
}

#[test]
fn a_text_without_a_model_is_told_its_language() {
    for (language, text) in [
        ("finnish", "Kissa nukkuu pöydällä, ja koira juoksee ulkona."),
        ("french", "Le chat dort, et le chien court dehors avec les enfants."),
        ("italian", "Il gatto dorme sul tavolo e il cane corre fuori."),
        ("polish", "Kot śpi na stole, a pies biega na zewnątrz."),
        ("turkish", "Kedi masanın üstünde uyuyor ve köpek dışarıda koşuyor."),
    ] {
        let named = run(["classify", "--text", text, "-k", "1", "--json"]);
        assert_eq!(named.json()["labels"][0]["label"], language, "{text}");
    }
}

#[test]
fn every_model_can_be_read_and_has_a_card_of_its_own_numbers() {
    for model in models() {
        let inspected = run(["inspect".as_ref(), model.as_os_str(), "--json".as_ref()]).json();
        let card = fs::read_to_string(model.join("README.md")).unwrap();
        let parameters = inspected["parameters"]["total"].as_u64().unwrap().to_string();
        assert!(card.replace(',', "").contains(&parameters), "{}", model.display());
        assert!(card.contains("| data | measure | this model | baseline |"), "{}", model.display());
        assert!(model.join("learning-curve.svg").is_file(), "{}", model.display());
    }
}
