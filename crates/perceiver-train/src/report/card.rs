//! Model cards: pages about models for people who may use them.

use std::fmt::Write as _;

use perceiver_models::Head;
use serde::Deserialize;
use serde_json::json;

use super::{CURVE_NAME, Record, grouped};

/// Name of the model card in a folder.
pub const CARD_NAME: &str = "README.md";

/// The README.md of a model's folder, as the Hugging Face hub shows it.
///
/// # Source
/// "Model Cards" in the hub's documentation; Model Cards for Model Reporting, arXiv 1810.03993.
#[derive(Debug, Clone)]
pub(crate) struct ModelCard {
    /// The model's name.
    pub(crate) name: String,
    /// Its class, and how to use it.
    pub(crate) model: CardModel,
    /// Text for people.
    pub(crate) settings: CardSettings,
    /// The recipe's file, if the model was trained by one.
    pub(crate) recipe: Option<String>,
}

/// The class of a model, and how to use it.
#[derive(Debug, Clone)]
pub enum CardModel {
    /// One of the heads that the program `perceiver` and transformers load.
    Pretrained(Head),
    /// A model of your own.
    Custom {
        /// Name of its type.
        class: String,
        /// How to use it, in Markdown.
        usage: String,
    },
}

/// Text of a model card.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardSettings {
    /// The model's task, in a sentence or two.
    pub summary: String,
    /// Uses the model is not good enough for.
    pub limits: String,
    /// Licence of the weights, by its name on the hub: `mit`.
    pub licence: String,
    /// The validation data.
    pub measured_on: String,
    /// The score of simple methods on that data, in the unit of the first metric.
    pub baseline: Option<String>,
    /// All data of the training.
    pub data: Vec<CardData>,
}

/// A data set that a model has seen.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardData {
    /// Its name.
    pub name: String,
    /// Its terms of use.
    pub licence: String,
    /// The package or site that provides it, with the version.
    pub origin: String,
    /// The parts used, and their purpose.
    pub parts: String,
}

/// Facts about a training.
#[derive(Debug, Clone)]
pub(crate) struct TrainingSummary<'a> {
    /// The validation of the best weights.
    pub(crate) best: &'a Record,
    /// Number of parameters.
    pub(crate) parameters: usize,
    /// Steps of the whole run.
    pub(crate) steps: usize,
    /// Examples of a step.
    pub(crate) examples_per_step: usize,
    /// The machine, if known: `one core of an AMD EPYC`.
    pub(crate) machine: Option<&'a str>,
}

impl TrainingSummary<'_> {
    fn sentence(&self) -> String {
        let Self { best, steps, examples_per_step, .. } = self;
        let machine = self.machine.map(|machine| format!(" on {machine}")).unwrap_or_default();
        let minutes = best.seconds / 60.0;
        format!(
            "{} of {steps} steps of {examples_per_step} examples in {minutes:.0} minutes{machine}.",
            best.step
        )
    }
}

impl ModelCard {
    /// The whole file: front matter in YAML, then Markdown.
    pub(crate) fn markdown(&self, training: &TrainingSummary<'_>) -> String {
        let Self { name, model, settings, recipe } = self;
        let parameters = grouped(training.parameters as u64);
        let mut page = self.front_matter(training.best);
        let _ = write!(
            page,
            "\n# {}\n\n{}\n\n`{}`, {parameters} parameters.\n",
            one_line(name),
            settings.summary,
            model.class()
        );
        page.push_str("\n## Results\n\nOn data that the model was not trained on:\n\n");
        table(
            &mut page,
            ["data", "measure", "this model", "baseline"],
            self.results(training.best),
        );
        page.push_str("\n## Use\n\n");
        match model {
            CardModel::Pretrained(head) => {
                page.push_str("With Perceiver for [burn](https://burn.dev):\n\n");
                fenced(&mut page, "sh", command(*head));
                if *head == Head::AnyData {
                    page.push_str("\ntransformers has no such head.\n");
                } else {
                    page.push_str("\nWith transformers:\n\n");
                    fenced(&mut page, "python", &python(*head));
                }
                if let Some(note) = long_texts(*head) {
                    let _ = writeln!(page, "\n{note}");
                }
            }
            CardModel::Custom { usage, .. } => page.push_str(&format!("{}\n", usage.trim_end())),
        }
        let _ = write!(page, "\n## Limits\n\n{}\n\n## Data\n\n", settings.limits);
        let data = settings.data.iter().map(|data| {
            [&data.name, &data.licence, &data.origin, &data.parts].map(|cell| cell.clone())
        });
        table(&mut page, ["data", "licence", "from", "used"], data);
        let _ = write!(page, "\n## Training\n\n{}", training.sentence());
        if let Some(recipe) = recipe {
            page.push_str(
                " `perceiver train recipe.toml --out DIR` repeats it with this recipe:\n\n",
            );
            fenced(&mut page, "toml", recipe);
        } else {
            page.push('\n');
        }
        let _ = writeln!(page, "\n![Loss and measure over steps]({CURVE_NAME})");
        page
    }

    /// Values are JSON, which YAML includes.
    fn front_matter(&self, best: &Record) -> String {
        let metrics: Vec<_> = best.measures.iter().map(|(metric, _)| &metric.name).collect();
        let datasets: Vec<_> = self.settings.data.iter().map(|data| &data.name).collect();
        let library = match self.model {
            CardModel::Pretrained(Head::AnyData) => "burn",
            CardModel::Pretrained(_) => "transformers",
            CardModel::Custom { .. } => "burn",
        };
        let mut lines = vec![
            ("license", json!(self.settings.licence)),
            ("library_name", json!(library)),
            ("tags", json!(["perceiver", "burn"])),
            ("datasets", json!(datasets)),
            ("metrics", json!(metrics)),
        ];
        lines.extend(self.model.task().map(|task| ("pipeline_tag", json!(task))));
        let lines = lines.iter().map(|(key, value)| format!("{key}: {value}\n"));
        format!("---\n{}---\n", lines.collect::<String>())
    }

    fn results(&self, best: &Record) -> impl Iterator<Item = [String; 4]> {
        best.measures.iter().enumerate().map(|(index, (metric, value))| {
            let value = format!("{value:.2} {}", metric.unit).trim_end().to_owned();
            let baseline = self.settings.baseline.clone().filter(|_| index == 0);
            let name = metric.name.clone().into_owned();
            [self.settings.measured_on.clone(), name, value, baseline.unwrap_or_default()]
        })
    }
}

impl CardModel {
    fn class(&self) -> &str {
        match self {
            Self::Pretrained(head) => head.name(),
            Self::Custom { class, .. } => class,
        }
    }

    const fn task(&self) -> Option<&'static str> {
        match self {
            Self::Pretrained(head) => task(*head),
            Self::Custom { .. } => None,
        }
    }
}

/// The hub's name for a head's task, if it has one.
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
        Head::AnyData => "perceiver predict DIR FILES",
        _ => "perceiver forward --model DIR --inputs in.safetensors --output out.safetensors",
    }
}

/// How texts are read that are longer than the model's input.
const fn long_texts(head: Head) -> Option<&'static str> {
    match head {
        Head::MaskedLm => Some(
            "`perceiver` reads a text that is longer than the model's input in windows around its masks.",
        ),
        Head::SequenceClassification => Some(
            "A text that is longer than the model's input is refused. With `--truncate`, `perceiver` reads \
             its beginning, as training and evaluation do, and with `--window` all of it in parts, \
             whose scores it averages. In transformers, `truncation=True` reads its beginning.",
        ),
        _ => None,
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

# The inputs are those of transformers' example of this class.
model = {class}.from_pretrained(\"DIR\")"
        ),
    }
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

/// A block of code, fenced by more ticks than the code contains.
fn fenced(page: &mut String, language: &str, code: &str) {
    let ticks = code.split(|character| character != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(3.max(ticks + 1));
    let _ = writeln!(page, "{fence}{language}\n{}\n{fence}", code.trim_end());
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[path = "card/tests.rs"]
mod tests;
