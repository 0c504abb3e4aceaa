//! Points followed through a clip.

use std::f32::consts::TAU;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use image::RgbImage;
use perceiver_data::flow::{Colours, Palette, draw_trail};
use perceiver_data::names_folder;
use perceiver_pipelines::follow_point;

use super::Estimated;
use super::pairs::Pair;
use crate::atomic_output::write_whole;
use crate::video_file::VideoFile;

/// Longest trail behind a point, in frames.
const TRAIL: usize = 50;

/// Points, where they were, and where that is written.
#[derive(Debug)]
pub(super) struct Tracks {
    tracks: Vec<Track>,
    path: PathBuf,
    sink: Sink,
    frames: usize,
    /// The name of the last frame.
    last: Option<String>,
}

#[derive(Debug)]
struct Track {
    start: [f32; 2],
    /// Its latest places.
    trail: Vec<[f32; 2]>,
    /// False once it left the frame or something moved over it.
    is_seen: bool,
}

#[derive(Debug)]
enum Sink {
    /// The rows so far.
    Table(String),
    Pictures(VideoFile),
}

impl Tracks {
    /// Checks that the output can be written.
    pub(super) fn open(path: &Path, points: &[[f32; 2]], fps: f64) -> Result<Self> {
        let is_table = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
        let sink = if is_table && !names_folder(path) {
            Sink::Table("frame,point,x,y\n".to_owned())
        } else {
            Sink::Pictures(VideoFile::create(path, fps)?)
        };
        let track = |&start: &[f32; 2]| Track { start, trail: vec![start], is_seen: true };
        let tracks = points.iter().map(track).collect();
        Ok(Self { tracks, path: path.to_path_buf(), sink, frames: 0, last: None })
    }

    /// Moves the points to the second frame of a pair.
    pub(super) fn write(&mut self, pair: &Pair, flow: Estimated<'_>) -> Result<()> {
        let [first, second] = &pair.frames;
        let (width, height) = first.dimensions();
        if self.last.is_none() {
            for [x, y] in self.tracks.iter().map(|track| track.start) {
                if x > width as f32 - 1.0 || y > height as f32 - 1.0 {
                    bail!("--track {x},{y}: is outside the frames' {width}x{height} pixels");
                }
            }
            self.show(first)?;
        }
        // After a frame that cannot be read, nothing is known of the points.
        let follows = self.last.as_ref().is_none_or(|last| *last == pair.names[0]);
        let backward = flow.backward.expect("the motion back was estimated");
        for track in &mut self.tracks {
            let place = track.trail.last().filter(|_| track.is_seen && follows);
            match place.and_then(|&place| follow_point(place, flow.flow, backward)) {
                Some(place) => {
                    if track.trail.len() == TRAIL {
                        track.trail.remove(0);
                    }
                    track.trail.push(place);
                }
                None => track.is_seen = false,
            }
        }
        self.last = Some(pair.names[1].clone());
        self.show(second)
    }

    fn show(&mut self, frame: &RgbImage) -> Result<()> {
        self.frames += 1;
        let seen = self.tracks.iter().enumerate().filter(|(_, track)| track.is_seen);
        match &mut self.sink {
            Sink::Table(rows) => {
                for (index, track) in seen {
                    if let Some([x, y]) = track.trail.last() {
                        writeln!(rows, "{},{},{x:.2},{y:.2}", self.frames, index + 1)?;
                    }
                }
            }
            Sink::Pictures(video) => {
                let mut picture = frame.clone();
                let colours = Colours::new(Palette::Middlebury, 1.0);
                for (index, track) in seen {
                    let (sine, cosine) = (index as f32 / self.tracks.len() as f32 * TAU).sin_cos();
                    draw_trail(&mut picture, &track.trail, colours.of([cosine, sine]));
                }
                video.write(&picture)?;
            }
        }
        Ok(())
    }

    /// Writes the table, or completes the pictures.
    pub(super) fn finish(self) -> Result<Option<(PathBuf, usize)>> {
        if self.frames == 0 {
            return Ok(None);
        }
        match self.sink {
            Sink::Table(rows) => {
                write_whole(&self.path, rows.as_bytes())?;
                Ok(Some((self.path, self.frames)))
            }
            Sink::Pictures(video) => video.finish(None).map(Some),
        }
    }
}

/// Reads a point such as `120,80.5`.
pub(super) fn point(text: &str) -> Result<[f32; 2], String> {
    let number = |text: &str| {
        let number = text.trim().parse().ok();
        number.filter(|&number: &f32| number >= 0.0 && number.is_finite())
    };
    let point = text.split_once(',').and_then(|(x, y)| Some([number(x)?, number(y)?]));
    point.ok_or_else(|| "expected X,Y in pixels from the upper left, such as 120,80".to_owned())
}
