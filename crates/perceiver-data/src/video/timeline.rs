//! When each frame of an animation is shown, from the headers of its frames alone.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use image::ImageFormat;

/// Most frames of an animation, which bounds the memory for their times.
const MAX_FRAMES: usize = 1 << 20;

/// Browsers show frames of at most ten milliseconds, which old programs wrote for "as fast as
/// possible", for a tenth of a second; so does ffmpeg for GIF files.
const SHORTEST: f64 = 10.0;
const DEFAULT: f64 = 100.0;

/// The end of each frame, in milliseconds from the start of the animation.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Timeline {
    ends: Vec<f64>,
}

impl Timeline {
    /// Reads the durations in a GIF, WebP or APNG file; a still image has one without a time.
    ///
    /// A damaged file gives those before the damage: decoding tells what is wrong.
    pub(super) fn read(file: &mut BufReader<File>, format: ImageFormat) -> Result<Self, String> {
        let mut timeline = Self::default();
        let read = match format {
            ImageFormat::Gif => timeline.read_gif(file),
            ImageFormat::WebP => timeline.read_webp(file),
            _ => timeline.read_apng(file),
        };
        match read {
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                Err(format!("more than {MAX_FRAMES} frames, expected at most that many"))
            }
            _ => {
                if timeline.ends.is_empty() {
                    timeline.ends.push(DEFAULT);
                }
                Ok(timeline)
            }
        }
    }

    pub(super) fn frames(&self) -> usize {
        self.ends.len()
    }

    /// Durations in seconds.
    pub(super) fn seconds(&self) -> impl Iterator<Item = f64> {
        let starts = std::iter::once(&0.0).chain(&self.ends);
        starts.zip(&self.ends).map(|(start, end)| (end - start) / 1000.0)
    }

    /// The mean rate in frames per second, if there are frames.
    pub(super) fn mean_rate(&self) -> Option<f64> {
        self.ends.last().map(|end| 1000.0 * self.frames() as f64 / end)
    }

    /// The index of the frame that is shown at a time in seconds; `None` after the last one.
    pub(super) fn at(&self, seconds: f64) -> Option<usize> {
        // A frame that starts exactly now is visible, and products of rates fall just short.
        const ROUNDING: f64 = 1e-3;
        let index = self.ends.partition_point(|end| *end <= seconds * 1000.0 + ROUNDING);
        (index < self.frames()).then_some(index)
    }

    fn add(&mut self, milliseconds: f64) -> io::Result<()> {
        if self.frames() == MAX_FRAMES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let milliseconds = if milliseconds > SHORTEST { milliseconds } else { DEFAULT };
        self.ends.push(self.ends.last().unwrap_or(&0.0) + milliseconds);
        Ok(())
    }

    fn read_gif(&mut self, file: &mut impl BufRead) -> io::Result<()> {
        let palette = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
        let screen: [u8; 13] = bytes(file)?;
        skip(file, palette(screen[10]))?;
        let mut hundredths = 0;
        loop {
            match bytes(file)? {
                [b'!'] => {
                    let [kind, length] = bytes(file)?;
                    if kind == 0xf9 && length >= 4 {
                        let [_, low, high, _] = bytes(file)?;
                        hundredths = u16::from_le_bytes([low, high]);
                        skip(file, u64::from(length) - 4)?;
                    } else {
                        skip(file, length.into())?;
                    }
                    // An extension without a first block has ended.
                    if length > 0 {
                        skip_blocks(file)?;
                    }
                }
                [b','] => {
                    let frame: [u8; 9] = bytes(file)?;
                    skip(file, palette(frame[8]) + 1)?;
                    self.add(10.0 * f64::from(hundredths))?;
                    hundredths = 0;
                    skip_blocks(file)?;
                }
                _ => return Ok(()),
            }
        }
    }

    fn read_webp(&mut self, file: &mut impl BufRead) -> io::Result<()> {
        let _: [u8; 12] = bytes(file)?;
        loop {
            let [a, b, c, d, size @ ..]: [u8; 8] = bytes(file)?;
            let mut size = u64::from(u32::from_le_bytes(size));
            size += size % 2;
            if [a, b, c, d] == *b"ANMF" && size >= 16 {
                let frame: [u8; 16] = bytes(file)?;
                let duration = u32::from_le_bytes([frame[12], frame[13], frame[14], 0]);
                self.add(f64::from(duration))?;
                size -= 16;
            }
            skip(file, size)?;
        }
    }

    fn read_apng(&mut self, file: &mut impl BufRead) -> io::Result<()> {
        const CHECKSUM: u64 = 4;
        let _: [u8; 8] = bytes(file)?;
        loop {
            let [size @ .., a, b, c, d]: [u8; 8] = bytes(file)?;
            let mut size = u64::from(u32::from_be_bytes(size));
            if [a, b, c, d] == *b"fcTL" && size >= 26 {
                let frame: [u8; 26] = bytes(file)?;
                let [numerator, denominator] =
                    [20, 22].map(|at| f64::from(u16::from_be_bytes([frame[at], frame[at + 1]])));
                // The standard's meaning of a denominator of 0.
                let denominator = if denominator == 0.0 { 100.0 } else { denominator };
                self.add(1000.0 * numerator / denominator)?;
                size -= 26;
            }
            skip(file, size + CHECKSUM)?;
        }
    }
}

/// Returns true if a PNG file has a chunk that makes it an animation.
pub(super) fn is_apng(file: &mut impl BufRead) -> bool {
    let mut find = || -> io::Result<bool> {
        let _: [u8; 8] = bytes(file)?;
        loop {
            let [size @ .., a, b, c, d]: [u8; 8] = bytes(file)?;
            match &[a, b, c, d] {
                b"acTL" => return Ok(true),
                b"IDAT" | b"IEND" => return Ok(false),
                _ => skip(file, u64::from(u32::from_be_bytes(size)) + 4)?,
            }
        }
    };
    find().unwrap_or(false)
}

fn bytes<const COUNT: usize>(file: &mut impl Read) -> io::Result<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn skip(file: &mut impl Read, count: u64) -> io::Result<()> {
    let skipped = io::copy(&mut file.take(count), &mut io::sink())?;
    if skipped < count { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// Skips the blocks of data of a GIF file up to the empty one that ends them.
fn skip_blocks(file: &mut impl Read) -> io::Result<()> {
    loop {
        match bytes(file)? {
            [0] => return Ok(()),
            [length] => skip(file, length.into())?,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn timeline(milliseconds: &[f64]) -> Timeline {
        let mut timeline = Timeline::default();
        milliseconds.iter().for_each(|&time| timeline.add(time).unwrap());
        timeline
    }

    #[test]
    fn a_frame_is_shown_for_its_own_time() {
        let timeline = timeline(&[20.0, 500.0, 40.0]);
        let shown = (0..).map_while(|frame| timeline.at(f64::from(frame) / 25.0));
        let expected = std::iter::once(0).chain([1; 12]).chain([2]);
        assert_eq!(shown.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        assert_eq!(timeline.mean_rate(), Some(3.0 / 0.56));
    }

    #[test]
    fn frames_without_a_time_last_a_tenth_of_a_second() {
        let seconds = |times: &[f64]| timeline(times).seconds().collect::<Vec<_>>();
        assert_eq!(seconds(&[0.0, 10.0]), [0.1, 0.1]);
        assert_eq!(seconds(&[11.0]), [0.011]);
    }

    #[test]
    fn times_are_read_from_every_format_up_to_the_damage() {
        let gif = |delay: u8| {
            let control = [b'!', 0xf9, 4, 0, delay, 0, 0, 0];
            let frame = [b',', 0, 0, 0, 0, 1, 0, 1, 0, 0x80, 1, 1, 1, 2, 2, 2, 2, 2, 0x44, 1, 0];
            [&control[..], &frame].concat()
        };
        let screen = b"GIF89a\x01\0\x01\0\0\0\0".to_vec();
        let comment = b"!\xfe\x02hi\0".to_vec();
        let mut found = Timeline::default();
        let file = [screen, gif(3), comment, gif(50), b";".to_vec()].concat();
        found.read_gif(&mut file.as_slice()).unwrap();
        assert_eq!(found, timeline(&[30.0, 500.0]));

        let webp = |name: &[u8; 4], body: &[u8]| {
            [name, &(body.len() as u32).to_le_bytes()[..], body, &vec![0; body.len() % 2]].concat()
        };
        let frame =
            |low: u8, high: u8| webp(b"ANMF", &[&[0; 12][..], &[low, 0, high, 0, 9]].concat());
        let riff = [&b"RIFF\0\0\0\0WEBP"[..], &webp(b"ABCD", b"abc"), &frame(40, 0), &frame(0, 1)];
        let mut found = Timeline::default();
        assert!(found.read_webp(&mut riff.concat().as_slice()).is_err());
        assert_eq!(found, timeline(&[40.0, 65_536.0]));

        let png = |name: &[u8; 4], body: &[u8]| {
            [&(body.len() as u32).to_be_bytes()[..], name, body, &[0; 4]].concat()
        };
        let frame = |numerator: u8, denominator: u8| {
            png(b"fcTL", &[&[0; 20][..], &[0, numerator, 0, denominator, 0, 0]].concat())
        };
        let start = [&b"\x89PNG\r\n\x1a\n"[..], &png(b"IHDR", &[0; 13]), &png(b"acTL", &[0; 8])];
        let file = [start.concat(), frame(1, 25), png(b"IDAT", b"abc"), frame(3, 0)].concat();
        let mut found = Timeline::default();
        assert!(found.read_apng(&mut file.as_slice()).is_err());
        assert_eq!(found, timeline(&[40.0, 30.0]));
        assert!(is_apng(&mut file.as_slice()));
        let still = [start[0], start[1], &png(b"IDAT", b"abc")[..]].concat();
        assert!(!is_apng(&mut still.as_slice()));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            rest in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        ) {
            let bytes = [&b"GIF89a\x01\0\x01\0\0\0\0"[..], &rest].concat();
            let _ = Timeline::default().read_gif(&mut bytes.as_slice());
            let _ = Timeline::default().read_webp(&mut bytes.as_slice());
            let _ = Timeline::default().read_apng(&mut bytes.as_slice());
            let _ = is_apng(&mut bytes.as_slice());
        }
    }
}
