use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use image::ImageFormat;
use perceiver_pipelines::{
    Attend, AttendLayer, AttendTiles, Attention, AttentionMap, Head, Input, Places,
};
use serde_json::{Value, json};

use super::Context;
use crate::args::{self, ModelArguments, OutputArguments};
use crate::atomic_output::write_whole;
use crate::bundled::Bundled;
use crate::files::text_argument;
use crate::long_texts::with_options;
use crate::output::{one_line, path_text, table};

const EXAMPLES: &str = "\
Examples:
  perceiver attend --model deepmind/vision-perceiver-fourier photo.jpg -o map.png
  perceiver attend --model ./vision-perceiver-conv photo.jpg -o map.html --grid
  perceiver attend --model ./vision-perceiver-conv photo.jpg -o map.png --latent 17
  perceiver attend --model ./language-perceiver --text \"Cats and [MASK][MASK][MASK].\" -o map.html
  perceiver attend --model ./language-perceiver --text \"A c[MASK]t\" -o map.html --layer decoder";

/// Show where a model attends, as a heat map over a photo or a text
///
/// Each latent of a Perceiver reads the whole input and attends more to some positions than to
/// others. The map shows the average over all latents and heads unless one is chosen. A PNG is a
/// picture; an HTML page also shows the weight under the pointer.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct AttendArguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Photo: PNG, JPEG, WebP, TIFF, BMP or GIF
    #[arg(value_name = "PHOTO", required_unless_present = "text")]
    photo: Option<PathBuf>,
    /// Text instead of a photo; - reads it from standard input
    #[arg(long, conflicts_with = "photo")]
    text: Option<String>,
    /// Read only the beginning of a text that is longer than the model's input, as in training
    #[arg(long, conflicts_with = "photo")]
    truncate: bool,
    #[command(flatten)]
    output: OutputArguments,
    /// Cross-attention to show
    #[arg(long, value_name = "NAME", default_value = "encoder")]
    layer: Layer,
    /// Head to show, by number [default: the average of all]; by name, the head of a model whose
    /// config.json names none
    #[arg(long, value_name = "N|NAME", value_parser = chosen_head)]
    head: Vec<ChosenHead>,
    /// Latent to show [default: the average of all]
    #[arg(long, value_name = "N")]
    latent: Option<usize>,
    /// Decoder query to show; in a text, the position of a token [default: the masks]
    #[arg(long, value_name = "N", conflicts_with = "latent")]
    query: Option<usize>,
    /// Show maps side by side: the 16 sharpest latents (queries with --layer decoder), or all heads
    #[arg(long, value_name = "OF-WHAT", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "latents")]
    grid: Option<Grid>,
    /// Number of strongest positions to print per map
    #[arg(short = 'k', long, value_name = "N", default_value_t = 5)]
    top_k: usize,
}

/// Two meanings of a head.
#[derive(Debug, Clone, Copy)]
enum ChosenHead {
    OfAttention(usize),
    OfModel(Head),
}

fn chosen_head(text: &str) -> Result<ChosenHead, String> {
    match text.parse() {
        Ok(number) => Ok(ChosenHead::OfAttention(number)),
        Err(_) => args::head(text).map(ChosenHead::OfModel),
    }
}

impl AttendArguments {
    fn attention_head(&self) -> Option<usize> {
        self.head.iter().rev().find_map(|head| match head {
            ChosenHead::OfAttention(number) => Some(*number),
            ChosenHead::OfModel(_) => None,
        })
    }

    fn model_head(&self) -> Option<Head> {
        self.head.iter().rev().find_map(|head| match head {
            ChosenHead::OfModel(head) => Some(*head),
            ChosenHead::OfAttention(_) => None,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Layer {
    /// The latents attend to the input
    #[value(alias = "0")]
    Encoder,
    /// The outputs attend to the latents: shows the input as those latents see it
    #[value(alias = "1")]
    Decoder,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Grid {
    #[value(alias = "queries")]
    Latents,
    Heads,
}

/// The format of the output file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Picture,
    Page,
}

pub(crate) fn run(arguments: &AttendArguments, context: &Context) -> Result<()> {
    let output = &arguments.output.output;
    let form = form(output)?;
    arguments.output.check_file(arguments.photo.as_deref())?;
    let layer = layer(arguments)?;
    let (title, input) = input(arguments)?;
    let device = context.open_device()?;
    let folder =
        arguments.model.folder(Bundled::classifier(arguments.text.is_some()), context.output)?;
    let start = Instant::now();
    let pipeline = match arguments.model_head() {
        Some(head) => Attend::from_pretrained_as(folder, head, &device.device)?,
        None => Attend::from_pretrained(folder, &device.device)?,
    };
    context.output.warnings(pipeline.warnings());
    let attention = configured(pipeline, layer, arguments).run(input);
    let attention =
        attention.map_err(|error| with_options(error, "--truncate reads its beginning"))?;
    let bytes = match form {
        Form::Page => attention.page(&title).into_bytes(),
        Form::Picture => png(&attention)?,
    };
    write_whole(output, &bytes)?;
    context.note_device(&device, start);

    let name = path_text(output);
    let maps = attention.maps.iter();
    let json: Vec<_> = maps.clone().map(|map| as_json(map, &attention, arguments.top_k)).collect();
    let layer = if arguments.layer == Layer::Encoder { "encoder" } else { "decoder" };
    let json = json!({ "output": name, "layer": layer, "maps": json });
    let texts: Vec<_> = maps.map(|map| as_text(map, &attention, arguments.top_k)).collect();
    context.output.result(json, &format!("{}\n{}", one_line(&name), texts.join("\n")))?;
    Ok(())
}

fn form(path: &Path) -> Result<Form> {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("html") => Ok(Form::Page),
        Some("png") => Ok(Form::Picture),
        _ => bail!("{}: expected a file named *.png or *.html", path.display()),
    }
}

fn layer(arguments: &AttendArguments) -> Result<AttendLayer> {
    Ok(match (arguments.layer, arguments.latent, arguments.query) {
        (Layer::Encoder, _, Some(_)) => bail!("--query: the encoder has none, expected --latent"),
        (Layer::Decoder, Some(_), _) => bail!("--latent: the decoder has none, expected --query"),
        (Layer::Encoder, ..) => AttendLayer::Encoder,
        (Layer::Decoder, ..) => AttendLayer::Decoder,
    })
}

fn configured(pipeline: Attend, layer: AttendLayer, arguments: &AttendArguments) -> Attend {
    let tiles = match arguments.grid {
        None => AttendTiles::Average,
        Some(Grid::Latents) => AttendTiles::Rows,
        Some(Grid::Heads) => AttendTiles::Heads,
    };
    let mut pipeline = pipeline.layer(layer).tiles(tiles).truncate(arguments.truncate);
    if let Some(head) = arguments.attention_head() {
        pipeline = pipeline.head(head);
    }
    if let Some(row) = arguments.latent.or(arguments.query) {
        pipeline = pipeline.row(row);
    }
    pipeline
}

/// The page's title and the input.
fn input(arguments: &AttendArguments) -> Result<(String, Input)> {
    const TITLE: usize = 60;
    match (&arguments.text, &arguments.photo) {
        (Some(text), _) => {
            let text = text_argument(text)?;
            let mut title: String = text.chars().take(TITLE).collect();
            if title.len() < text.len() {
                title.push('…');
            }
            Ok((title, text.into()))
        }
        (None, Some(photo)) if photo.is_file() => {
            let title = photo.file_name().unwrap_or(photo.as_os_str());
            Ok((title.to_string_lossy().into_owned(), photo.clone().into()))
        }
        (None, Some(photo)) => {
            bail!("{}: does not exist, expected an image file", photo.display())
        }
        (None, None) => bail!("expected a photo or --text"),
    }
}

fn png(attention: &Attention) -> Result<Vec<u8>> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    attention.picture().write_to(&mut bytes, ImageFormat::Png)?;
    Ok(bytes.into_inner())
}

fn as_json(map: &AttentionMap, attention: &Attention, count: usize) -> Value {
    let places: Vec<_> = map
        .strongest(count)
        .into_iter()
        .map(|(place, weight)| match &attention.places {
            Places::Text(characters) => {
                let character = &characters[place];
                let (start, end) =
                    character.range.clone().map(|range| (range.start, range.end)).unzip();
                json!({ "text": character.text, "start": start, "end": end, "weight": weight })
            }
            Places::Image { columns, .. } => json!({
                "row": place / columns,
                "column": place % columns,
                "weight": weight,
            }),
        })
        .collect();
    match attention.layer {
        AttendLayer::Encoder => json!({ "head": map.head, "latent": map.row, "places": places }),
        AttendLayer::Decoder => json!({ "head": map.head, "query": map.row, "places": places }),
    }
}

fn as_text(map: &AttentionMap, attention: &Attention, count: usize) -> String {
    let rows: Vec<[String; 2]> = map
        .strongest(count)
        .into_iter()
        .map(|(place, weight)| {
            let weight = format!("{:.5} %", f64::from(weight) * 100.0);
            [weight, one_line(&attention.places.name(place))]
        })
        .collect();
    format!("{}\n{}", attention.description(map), table(&rows))
}
