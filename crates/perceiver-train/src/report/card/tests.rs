#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use super::*;
use crate::Metric;
use crate::report::Part;

fn card(model: CardModel) -> ModelCard {
    let data = CardData {
        name: "fashion: \"mnist\"".to_owned(),
        licence: "MIT".to_owned(),
        origin: "Debian | dataset".to_owned(),
        parts: "60,000 pictures\nto learn from".to_owned(),
    };
    let settings = CardSettings {
        summary: "Says what clothes are.".to_owned(),
        limits: "Knows ten kinds.".to_owned(),
        licence: "mit".to_owned(),
        measured_on: "10,000 pictures".to_owned(),
        baseline: Some("83.3 (logistic regression)".to_owned()),
        data: vec![data],
    };
    let recipe = Some("seed = 1 # ```\n".to_owned());
    ModelCard { name: "A classifier".to_owned(), model, settings, recipe }
}

fn page(card: &ModelCard) -> String {
    let best = Record {
        step: 90,
        part: Part::Validation,
        loss: 0.5,
        measures: [(Metric::ACCURACY, 89.504), (Metric::new("loss of luck", ""), 1.0)]
            .into_iter()
            .collect(),
        learning_rate: None,
        seconds: 120.0,
    };
    card.markdown(&TrainingSummary {
        best: &best,
        parameters: 1_234_567,
        steps: 100,
        examples_per_step: 64,
        machine: Some("two cores"),
    })
}

#[test]
fn front_matter_is_what_the_hub_reads() {
    let page_of = |head| page(&card(CardModel::Pretrained(head)));
    let page = page_of(Head::ImageClassificationFourier);
    let (_, rest) = page.split_once("---\n").unwrap();
    let (front, _) = rest.split_once("---\n").unwrap();
    let expected = "license: \"mit\"\n\
                    library_name: \"transformers\"\n\
                    tags: [\"perceiver\",\"burn\"]\n\
                    datasets: [\"fashion: \\\"mnist\\\"\"]\n\
                    metrics: [\"accuracy\",\"loss of luck\"]\n\
                    pipeline_tag: \"image-classification\"\n";
    assert_eq!(front, expected);
    assert!(!page_of(Head::OpticalFlow).contains("pipeline_tag"));
}

#[test]
fn the_first_result_stands_beside_its_baseline() {
    let page = page(&card(CardModel::Pretrained(Head::MaskedLm)));
    let row = "| 10,000 pictures | accuracy | 89.50 % | 83.3 (logistic regression) |\n\
               | 10,000 pictures | loss of luck | 1.00 |  |\n";
    assert!(page.contains(row), "{page}");
    assert!(page.contains("`PerceiverForMaskedLM`, 1,234,567 parameters."), "{page}");
    let training = "90 of 100 steps of 64 examples in 2 minutes on two cores. `perceiver train";
    assert!(page.contains(training), "{page}");
}

#[test]
fn text_from_strangers_breaks_neither_table_nor_block() {
    let page = page(&card(CardModel::Pretrained(Head::MaskedLm)));
    assert!(page.contains("| Debian \\| dataset | 60,000 pictures to learn from |"), "{page}");
    assert!(page.contains("````toml\nseed = 1 # ```\n````\n"), "{page}");
}

#[test]
fn a_model_of_ones_own_says_itself_how_it_is_used() {
    let class = "PointClassifier".to_owned();
    let model = CardModel::Custom { class, usage: "Call `classify`.".to_owned() };
    let page = page(&ModelCard { recipe: None, ..card(model) });
    assert!(page.contains("`PointClassifier`, 1,234,567 parameters."), "{page}");
    assert!(page.contains("## Use\n\nCall `classify`.\n\n## Limits"), "{page}");
    assert!(page.contains("on two cores.\n\n![Loss"), "{page}");
    assert!(!page.contains("transformers"), "{page}");
}
