use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, anyhow, bail};
use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};
use ndarray::{Array2, Array3};
use perceiver_data::flow::{FlowErrors, FlowFile, Palette, flow_errors, largest_motion, read_flow};
use perceiver_data::names_folder;
use perceiver_pipelines::{Error, Head, OpticalFlow, Progress, hidden_pixels};
use serde_json::json;

use self::pairs::Pair;
pub(super) use self::pairs::Pairs;
use self::target::{Style, Target};
use self::tracks::Tracks;
use super::Context;
use crate::args::{ForceArgument, HeadArguments, ModelArguments, OutputArguments};
use crate::batch::Batch;
use crate::bundled::Bundled;
use crate::output::{grouped, one_line, path_text};

mod pairs;
mod target;
mod tracks;

const EXAMPLES: &str = "\
Examples:
  perceiver flow --model deepmind/optical-flow-perceiver first.png second.png -o flow.png
  perceiver flow --model ./optical-flow first.png second.png -o flow.flo
  perceiver flow --model ./optical-flow first.png second.png -o arrows.png --format arrows
  perceiver flow --model ./optical-flow frames/ -o flows/ --format flo,colours
  perceiver flow --model ./optical-flow clip.mp4 -o flow.mp4
  perceiver flow first.png second.png -o hidden.png --format occlusion
  perceiver flow clip.mp4 -o slow.mp4 --fps 10 --interpolate 3
  perceiver flow clip.mp4 -o points.csv --track 120,80 --track 200,95
  perceiver flow --model ./optical-flow 10.png 11.png --ground-truth flow_10.png";

/// Estimate the motion of every pixel between two frames, or through a video
///
/// Colours show direction and distance, as the wheel in the corner explains. Frames must be at
/// least as large as the model's; larger ones are split into tiles and blended. Coarse to fine, from
/// small copies of the frames to their own size, the bundled model follows motions larger than those it
/// was trained on.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct FlowArguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    head: HeadArguments,
    /// Images in order, a folder of them, or a video
    #[arg(value_name = "FRAMES", required = true)]
    frames: Vec<PathBuf>,
    /// Output: *.flo or *.png for two frames; *.mp4, *.webp or *.gif for a video; or a folder with
    /// one file per pair of frames
    #[arg(short, long, value_name = "PATH", required_unless_present = "ground_truth")]
    output: Option<PathBuf>,
    #[command(flatten)]
    force: ForceArgument,
    /// Form of the output; several forms get a folder each [default: by extension flo, colours or
    /// side-by-side]
    #[arg(long, value_name = "FORM", value_delimiter = ',', requires = "output")]
    format: Vec<Form>,
    /// Colours of the directions
    #[arg(long, value_name = "PALETTE", default_value = "hsv")]
    colours: Colouring,
    /// Motion in pixels that gets the strongest colour and the longest arrow [default: 24 with hsv
    /// colours, otherwise the largest of each pair of frames]
    #[arg(long, value_name = "PIXELS", value_parser = max_motion)]
    max_motion: Option<f32>,
    /// Leave out the colour wheel
    #[arg(long)]
    no_legend: bool,
    /// Frames per second of the output video [default: the input video's, 10 for images]
    #[arg(long, value_name = "N")]
    fps: Option<f64>,
    /// Extend frames smaller than the model's at their right and lower borders
    #[arg(long)]
    pad: bool,
    /// Number of sizes at which frames are read, the smallest first, as far as they hold a tile; 1 reads
    /// them once, at their own size [default: as many as fit, or 1 for models whose config.json does
    /// not name the motion that they were trained on]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    levels: Option<usize>,
    /// Number of times that frames of each size are read [default: 2, but 1 at their own size after
    /// smaller ones, and 1 with --levels 1]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=100))]
    passes: Option<usize>,
    /// Write pixels that the second frame hides as unknown, in *.flo and KITTI's files
    #[arg(long, requires = "output")]
    mark_hidden: bool,
    /// Write the frames themselves, with N more between every two, as *.mp4, *.webp, *.gif or a folder
    /// of *.png; they are shown N + 1 times as fast unless --fps is given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    #[arg(requires = "output", conflicts_with_all = ["format", "mark_hidden", "ground_truth"])]
    interpolate: Option<u16>,
    /// Follow a point of the first frame through the clip; may be given several times. The output is
    /// *.csv, or the frames with the points drawn, as *.mp4, *.webp, *.gif or a folder of *.png
    #[arg(long, value_name = "X,Y", value_parser = tracks::point, requires = "output")]
    #[arg(conflicts_with_all = ["interpolate", "format", "mark_hidden", "ground_truth"])]
    track: Vec<[f32; 2]>,
    /// True flow to compare with, *.flo or KITTI's 16-bit *.png: prints EPE and Fl-all
    #[arg(long, value_name = "FILE")]
    ground_truth: Option<PathBuf>,
}

/// Form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Middlebury's file of floats, *.flo
    Flo,
    /// KITTI's 16-bit *.png in steps of 1/64 pixel
    Kitti,
    /// A colour per pixel
    Colours,
    /// Arrows over the first frame
    Arrows,
    /// The first frame beside the colours
    SideBySide,
    /// White where the second frame hides the pixel, otherwise black
    Occlusion,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Colouring {
    /// OpenCV's hues, as in DeepMind's notebook
    Hsv,
    /// The wheel of the Middlebury benchmark
    Middlebury,
}

impl Form {
    /// As on the command line.
    fn name(self) -> &'static str {
        match self {
            Self::Flo => "flo",
            Self::Kitti => "kitti",
            Self::Colours => "colours",
            Self::Arrows => "arrows",
            Self::SideBySide => "side-by-side",
            Self::Occlusion => "occlusion",
        }
    }
}

/// The motion between two frames.
#[derive(Debug, Clone, Copy)]
struct Estimated<'a> {
    flow: &'a Array3<f32>,
    /// From the second frame to the first, if the output needs it.
    backward: Option<&'a Array3<f32>>,
    /// Pixels that the second frame hides, if the output shows them.
    hidden: Option<&'a Array2<bool>>,
}

pub(crate) fn run(arguments: &FlowArguments, context: &Context) -> Result<()> {
    let mut pairs = Pairs::open(&arguments.frames, context.output)?;
    let truth = arguments.truth(&pairs)?;
    let mut target = arguments.target(&pairs)?;
    let needs_hidden = arguments.mark_hidden || target.forms().contains(&Form::Occlusion);
    let is_moved = arguments.interpolate.is_some() || !arguments.track.is_empty();
    let needs_backward = needs_hidden || is_moved;
    let device = context.open_device()?;
    arguments.head.only(Head::OpticalFlow)?;
    let folder = arguments.model.folder(Bundled::Flow, context.output)?;
    let start = Instant::now();
    let mut pipeline = OpticalFlow::from_pretrained(folder, &device.device)?.pad(arguments.pad);
    if let Some(levels) = arguments.levels {
        pipeline = pipeline.levels(levels);
    }
    if let Some(passes) = arguments.passes {
        pipeline = pipeline.passes(passes);
    }
    context.output.warnings(pipeline.warnings());

    let mut bar = context.output.progress("flow", "tiles");
    let mut batch = Batch::new(pairs.inputs());
    let count = pairs.count();
    let mut index = 0;
    while let Some((name, pair)) = pairs.next() {
        batch.run(&name, || {
            let pair = pair?;
            let [first, second] = &pair.frames;
            if let (Some(path), Some(truth)) = (&arguments.ground_truth, &truth) {
                check_size(path, truth, first.dimensions())?;
            }
            let estimates = 1 + usize::from(needs_backward);
            let mut estimate = |first, second, before: usize| {
                pipeline.run_with_progress(first, second, |tiles| {
                    let before = (index * estimates + before) * tiles.total;
                    let total = count.max(index + 1) * estimates * tiles.total;
                    bar.at(Progress { done: before + tiles.done, total });
                })
            };
            let flow = estimate(first, second, 0).map_err(|error| match error {
                Error::FrameTooSmall { .. } => anyhow!("{error}; --pad extends smaller ones"),
                error => error.into(),
            })?;
            let backward = needs_backward.then(|| estimate(second, first, 1)).transpose()?;
            let errors = truth.as_ref().map(|truth| flow_errors(flow.view(), truth));
            let backward = backward.as_ref();
            let hidden = backward.filter(|_| needs_hidden).map(|back| hidden_pixels(&flow, back));
            let estimated = Estimated { flow: &flow, backward, hidden: hidden.as_ref() };
            let written = target.write(&pair, estimated)?;
            print_result(&pair, &flow, errors, &written, context)
        })?;
        index += 1;
    }
    drop(bar);
    if let Some((path, frames)) = target.finish()? {
        let path = path_text(&path);
        let json = json!({ "output": path, "frames": frames });
        context.output.result(json, &format!("{}: {frames} frames", one_line(&path)))?;
    }
    context.note_device(&device, start);
    batch.finish()
}

impl FlowArguments {
    /// Ground-truth flow of a single pair.
    fn truth(&self, pairs: &Pairs) -> Result<Option<FlowFile>> {
        let Some(path) = &self.ground_truth else { return Ok(None) };
        if !pairs.is_one() {
            bail!("{}: is the flow of two frames, expected no other frames", path.display());
        }
        let truth = read_flow(path)?;
        if !truth.known.iter().any(|&known| known) {
            bail!("{}: no pixel is known", path.display());
        }
        Ok(Some(truth))
    }

    fn target(&self, pairs: &Pairs) -> Result<Target> {
        let Some(path) = &self.output else { return Ok(Target::Nothing) };
        let output = OutputArguments { output: path.clone(), force: self.force };
        let style = Style {
            marks_hidden: self.mark_hidden,
            palette: match self.colours {
                Colouring::Hsv => Palette::Hsv,
                Colouring::Middlebury => Palette::Middlebury,
            },
            max_motion: self.max_motion,
            has_legend: !self.no_legend,
        };
        let fps = self.fps.or(pairs.frames_per_second()).unwrap_or(10.0);
        let inputs = self.frames.iter().chain(&self.ground_truth).map(PathBuf::as_path);
        match names_folder(path) {
            true => output.check_folder(inputs)?,
            false => output.check_file(inputs)?,
        }
        if !self.track.is_empty() {
            return Ok(Target::Tracks(Box::new(Tracks::open(path, &self.track, fps)?)));
        }
        if let Some(between) = self.interpolate {
            let between = usize::from(between);
            let fps = self.fps.unwrap_or(fps * (between + 1) as f64);
            return Target::between(path, between, fps);
        }
        let holds_numbers = |form: &Form| matches!(form, Form::Flo | Form::Kitti);
        let is_flo = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("flo"));
        let has_numbers = is_flo || self.format.iter().any(holds_numbers);
        if self.mark_hidden && !has_numbers {
            bail!(
                "--mark-hidden: no file holds numbers, expected -o *.flo or --format flo or kitti"
            );
        }
        Target::open(path, &self.format, style, pairs, fps)
    }
}

fn check_size(path: &Path, truth: &FlowFile, (width, height): (u32, u32)) -> Result<()> {
    let (rows, columns) = truth.known.dim();
    if (rows, columns) == (height as usize, width as usize) {
        return Ok(());
    }
    bail!("{}: is {columns}x{rows} pixels, expected the frames' {width}x{height}", path.display())
}

fn print_result(
    pair: &Pair,
    flow: &Array3<f32>,
    errors: Option<FlowErrors>,
    written: &[PathBuf],
    context: &Context,
) -> Result<()> {
    let distances = || flow.rows().into_iter().map(|vector| f64::from(vector[0].hypot(vector[1])));
    let mean = distances().sum::<f64>() / distances().count() as f64;
    let largest = largest_motion(flow.view());
    let (height, width, _) = flow.dim();
    let outputs: Vec<_> = written.iter().map(|path| path_text(path)).collect();
    let mut json = json!({
        "frames": pair.names,
        "width": width,
        "height": height,
        "mean_motion": mean,
        "largest_motion": largest,
        "outputs": outputs,
    });
    let [first, second] = pair.names.each_ref().map(|name| one_line(name));
    let mut text = format!("{first} to {second}: {mean:.2} px on average, {largest:.2} px at most");
    if let Some(FlowErrors { end_point_error, outliers, pixels }) = errors {
        json["end_point_error"] = json!(end_point_error);
        json["fl_all"] = json!(outliers);
        json["known_pixels"] = json!(pixels);
        text.push_str(&format!(
            "\n  EPE     {end_point_error:.3} px\n  Fl-all  {:.2} %\n  over {} known pixels",
            outliers * 100.0,
            grouped(pixels)
        ));
    }
    for output in &outputs {
        text.push_str(&format!("\n  {}", one_line(output)));
    }
    context.output.result(json, &text)?;
    Ok(())
}

fn max_motion(text: &str) -> Result<f32, String> {
    let number = text.parse().ok().filter(|&number: &f32| number > 0.0 && number.is_finite());
    number.ok_or_else(|| "expected a number of pixels, more than 0".to_owned())
}
