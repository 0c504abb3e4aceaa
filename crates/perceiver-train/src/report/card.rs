//! What people are told about a model before they use it.

use std::fmt::Write as _;

use perceiver_models::Head;
use serde::Deserialize;
use serde_json::json;

use super::{CURVE_NAME, grouped};
use crate::Quantity;

/// The README.md of a model's folder, as the Hugging Face hub shows it.
///
/// # Source
/// "Model Cards" of the hub's documentation; Model Cards for Model Reporting, arXiv 1810.03993.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelCard {
    /// What the model is called.
    pub name: String,
    /// What it does, in a sentence or two.
    pub summary: String,
    /// What it must not be relied on for.
    pub limits: String,
    /// Its class.
    pub head: Head,
    /// Numbers that were learned.
    pub parameters: usize,
    /// Licence of the weights, by the hub's name: `mit`.
    pub licence: String,
    /// What it was trained and evaluated on.
    pub data: Vec<CardData>,
    /// The recipe's file as it was run.
    pub recipe: String,
    /// On what machine and for how long it was trained, in a sentence.
    pub training: String,
    /// How good it is on data that it was not trained on.
    pub results: Vec<CardResult>,
}

/// Data that a model has seen.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardData {
    /// What it is called.
    pub name: String,
    /// Under what terms it is used.
    pub licence: String,
    /// What carries it, with the version.
    pub origin: String,
    /// How much of it was used for what.
    pub parts: String,
}

/// A number beside what it is to be compared with.
#[derive(Debug, Clone, PartialEq)]
pub struct CardResult {
    /// What was measured.
    pub quantity: Quantity,
    /// On which data.
    pub data: String,
    /// In [`Quantity::unit`].
    pub value: f64,
    /// What a simple method reaches: `83.3 (logistic regression)`.
    pub baseline: Option<String>,
}

impl ModelCard {
    /// The whole file: front matter in YAML, then Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let Self { name, summary, limits, parameters, training, .. } = self;
        let (class, parameters) = (self.head.name(), grouped(*parameters as u64));
        let mut page = self.front_matter();
        let _ = write!(
            page,
            "\n# {}\n\n{summary}\n\n`{class}`, {parameters} parameters.\n",
            one_line(name)
        );
        page.push_str("\n## Results\n\nOn data that the model was not trained on:\n\n");
        table(
            &mut page,
            ["data", "measure", "this model", "baseline"],
            self.results.iter().map(row),
        );
        page.push_str("\n## Use\n\nWith Perceiver for [burn](https://burn.dev):\n\n");
        fenced(&mut page, "sh", command(self.head));
        page.push_str("\nWith transformers:\n\n");
        fenced(&mut page, "python", &python(self.head));
        let _ = write!(page, "\n## Limits\n\n{limits}\n\n## Data\n\n");
        let data = self.data.iter().map(|data| {
            [&data.name, &data.licence, &data.origin, &data.parts].map(|cell| cell.clone())
        });
        table(&mut page, ["data", "licence", "from", "used"], data);
        let _ =
            write!(page, "\n## Training\n\n{training} `perceiver train recipe.toml --out DIR` ");
        page.push_str("repeats it with this recipe:\n\n");
        fenced(&mut page, "toml", &self.recipe);
        let _ = writeln!(page, "\n![Loss and measure over steps]({CURVE_NAME})");
        page
    }

    /// Values are JSON, which YAML includes.
    fn front_matter(&self) -> String {
        let mut metrics: Vec<_> =
            self.results.iter().map(|result| result.quantity.name()).collect();
        metrics.dedup();
        let datasets: Vec<_> = self.data.iter().map(|data| &data.name).collect();
        let mut lines = vec![
            ("license", json!(self.licence)),
            ("library_name", json!("transformers")),
            ("tags", json!(["perceiver", "burn"])),
            ("datasets", json!(datasets)),
            ("metrics", json!(metrics)),
        ];
        lines.extend(task(self.head).map(|task| ("pipeline_tag", json!(task))));
        let lines = lines.iter().map(|(key, value)| format!("{key}: {value}\n"));
        format!("---\n{}---\n", lines.collect::<String>())
    }
}

/// The hub's name of what a head does, where it has one.
const fn task(head: Head) -> Option<&'static str> {
    match head {
        Head::MaskedLm => Some("fill-mask"),
        Head::SequenceClassification => Some("text-classification"),
        Head::ImageClassificationLearned
        | Head::ImageClassificationFourier
        | Head::ImageClassificationConvProcessing => Some("image-classification"),
        _ => None,
    }
}

const fn command(head: Head) -> &'static str {
    match head {
        Head::MaskedLm => {
            "perceiver fill-mask --model DIR \"It was a truth[MASK][MASK][MASK][MASK][MASK] known.\""
        }
        Head::SequenceClassification => {
            "perceiver classify --model DIR --text \"What a lovely day.\""
        }
        Head::ImageClassificationLearned
        | Head::ImageClassificationFourier
        | Head::ImageClassificationConvProcessing => "perceiver classify --model DIR picture.png",
        Head::OpticalFlow => "perceiver flow --model DIR first.png second.png -o flow.png",
        Head::MultimodalAutoencoding => "perceiver autoencode --model DIR clip.mp4 -o again.mp4",
        _ => "perceiver forward --model DIR --inputs in.safetensors --output out.safetensors",
    }
}

fn python(head: Head) -> String {
    let class = head.name();
    match task(head) {
        Some("fill-mask") => format!(
            "from transformers import {class}, PerceiverTokenizer

tokenizer = PerceiverTokenizer.from_pretrained(\"DIR\")
model = {class}.from_pretrained(\"DIR\")
length = model.config.max_position_embeddings
text = \"It was a truth[MASK][MASK][MASK][MASK][MASK] known.\"
inputs = tokenizer(text, padding=\"max_length\", max_length=length, return_tensors=\"pt\")
masked = inputs.input_ids[0] == tokenizer.mask_token_id
print(tokenizer.decode(model(**inputs).logits[0, masked].argmax(-1)))"
        ),
        Some("text-classification") => format!(
            "from transformers import {class}, PerceiverTokenizer

tokenizer = PerceiverTokenizer.from_pretrained(\"DIR\")
model = {class}.from_pretrained(\"DIR\")
inputs = tokenizer(\"What a lovely day.\", return_tensors=\"pt\")
print(model.config.id2label[model(**inputs).logits.argmax(-1).item()])"
        ),
        Some(_) => format!(
            "from PIL import Image
from transformers import {class}, PerceiverImageProcessor

processor = PerceiverImageProcessor.from_pretrained(\"DIR\")
model = {class}.from_pretrained(\"DIR\")
picture = Image.open(\"picture.png\").convert(\"RGB\")
pixels = processor(picture, return_tensors=\"pt\").pixel_values
print(model.config.id2label[model(inputs=pixels).logits.argmax(-1).item()])"
        ),
        None => format!(
            "from transformers import {class}

# Inputs are those of transformers' own example of the class.
model = {class}.from_pretrained(\"DIR\")"
        ),
    }
}

fn row(result: &CardResult) -> [String; 4] {
    let CardResult { quantity, data, value, baseline } = result;
    let value = format!("{value:.2} {}", quantity.unit()).trim_end().to_owned();
    [data.clone(), quantity.name().to_owned(), value, baseline.clone().unwrap_or_default()]
}

fn table<const N: usize>(
    page: &mut String,
    names: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) {
    let _ = writeln!(page, "| {} |\n|{}", names.join(" | "), "---|".repeat(N));
    for row in rows {
        let cells = row.map(|cell| one_line(&cell).replace('|', "\\|"));
        let _ = writeln!(page, "| {} |", cells.join(" | "));
    }
}

/// A block of code, which cannot end itself.
fn fenced(page: &mut String, language: &str, code: &str) {
    let ticks = code.split(|character| character != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(3.max(ticks + 1));
    let _ = writeln!(page, "{fence}{language}\n{}\n{fence}", code.trim_end());
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn card(head: Head) -> ModelCard {
        let data = CardData {
            name: "fashion: \"mnist\"".to_owned(),
            licence: "MIT".to_owned(),
            origin: "Debian | dataset".to_owned(),
            parts: "60,000 pictures\nto learn from".to_owned(),
        };
        let result = CardResult {
            quantity: Quantity::Accuracy,
            data: "10,000 pictures".to_owned(),
            value: 89.504,
            baseline: Some("83.3 (logistic regression)".to_owned()),
        };
        ModelCard {
            name: "A classifier".to_owned(),
            summary: "Says what clothes are.".to_owned(),
            limits: "Knows ten kinds.".to_owned(),
            head,
            parameters: 1_234_567,
            licence: "mit".to_owned(),
            data: vec![data],
            recipe: "seed = 1 # ```\n".to_owned(),
            training: "Two minutes on two cores.".to_owned(),
            results: vec![result],
        }
    }

    #[test]
    fn front_matter_is_what_the_hub_reads() {
        let page = card(Head::ImageClassificationFourier).markdown();
        let (_, rest) = page.split_once("---\n").unwrap();
        let (front, _) = rest.split_once("---\n").unwrap();
        let expected = "license: \"mit\"\n\
                        library_name: \"transformers\"\n\
                        tags: [\"perceiver\",\"burn\"]\n\
                        datasets: [\"fashion: \\\"mnist\\\"\"]\n\
                        metrics: [\"accuracy\"]\n\
                        pipeline_tag: \"image-classification\"\n";
        assert_eq!(front, expected);
        assert!(!card(Head::OpticalFlow).markdown().contains("pipeline_tag"));
    }

    #[test]
    fn results_stand_beside_their_baseline() {
        let page = card(Head::MaskedLm).markdown();
        let row = "| 10,000 pictures | accuracy | 89.50 % | 83.3 (logistic regression) |\n";
        assert!(page.contains(row), "{page}");
        assert!(page.contains("`PerceiverForMaskedLM`, 1,234,567 parameters."), "{page}");
    }

    #[test]
    fn text_from_strangers_breaks_neither_table_nor_block() {
        let page = card(Head::MaskedLm).markdown();
        assert!(page.contains("| Debian \\| dataset | 60,000 pictures to learn from |"), "{page}");
        assert!(page.contains("````toml\nseed = 1 # ```\n````\n"), "{page}");
    }
}
