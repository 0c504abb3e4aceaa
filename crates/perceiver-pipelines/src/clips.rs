use image::RgbImage;
use perceiver_data::centre_square;

use crate::Result;

/// A piece of a video, at most as long as the model's input.
#[derive(Debug, Clone, PartialEq)]
pub struct VideoClip {
    /// Upright RGB frames, in order.
    pub frames: Vec<RgbImage>,
    /// Their sound: one channel, from −1 to 1. Missing samples count as silence.
    pub samples: Vec<f32>,
}

/// An iterator over the clips of a video, in order.
///
/// It returns an error, and ends, if a frame cannot be read.
#[derive(Debug)]
pub struct VideoClips<I> {
    frames: I,
    sound: std::vec::IntoIter<f32>,
    side: u32,
    clip_frames: usize,
    samples_per_frame: usize,
    is_over: bool,
}

impl<I> VideoClips<I> {
    pub(crate) fn new(
        frames: I,
        sound: Vec<f32>,
        side: u32,
        (clip_frames, samples_per_frame): (usize, usize),
    ) -> Self {
        let sound = sound.into_iter();
        Self { frames, sound, side, clip_frames, samples_per_frame, is_over: false }
    }
}

impl<I: Iterator<Item = perceiver_data::Result<RgbImage>>> Iterator for VideoClips<I> {
    type Item = Result<VideoClip>;

    fn next(&mut self) -> Option<Result<VideoClip>> {
        let mut frames = Vec::new();
        while !self.is_over && frames.len() < self.clip_frames {
            match self.frames.next() {
                // Reduced at once: sixteen frames of a large video are half a gigabyte.
                Some(Ok(frame)) => frames.push(centre_square(&frame, self.side)),
                Some(Err(error)) => {
                    self.is_over = true;
                    return Some(Err(error.into()));
                }
                None => self.is_over = true,
            }
        }
        if frames.is_empty() {
            return None;
        }
        let samples = self.sound.by_ref().take(frames.len() * self.samples_per_frame).collect();
        Some(Ok(VideoClip { frames, samples }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use image::Rgb;

    use super::*;

    fn frames(count: u8) -> impl Iterator<Item = perceiver_data::Result<RgbImage>> {
        (0..count).map(|grey| Ok(RgbImage::from_pixel(6, 4, Rgb([grey; 3]))))
    }

    #[test]
    fn the_last_clip_has_what_is_left() {
        let sound = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
        let clips: Vec<VideoClip> =
            VideoClips::new(frames(5), sound, 4, (3, 2)).collect::<Result<_>>().unwrap();
        let greys = |clip: &VideoClip| -> Vec<u8> {
            clip.frames.iter().map(|frame| frame.as_raw()[0]).collect()
        };
        assert_eq!([greys(&clips[0]), greys(&clips[1])], [vec![0, 1, 2], vec![3, 4]]);
        assert_eq!(clips[0].samples, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(clips[1].samples, [7.0]);
        assert!(clips[0].frames.iter().all(|frame| frame.dimensions() == (4, 4)));
        assert_eq!(clips.len(), 2);
    }

    #[test]
    fn whole_clips_are_followed_by_no_empty_one() {
        assert_eq!(VideoClips::new(frames(6), Vec::new(), 4, (3, 2)).count(), 2);
    }

    #[test]
    fn nothing_follows_a_frame_that_cannot_be_read() {
        let damaged = std::iter::once(perceiver_data::read_image("/there is no such image"));
        let all = frames(4).chain(damaged).chain(frames(9));
        let found: Vec<bool> =
            VideoClips::new(all, Vec::new(), 4, (3, 2)).map(|clip| clip.is_ok()).collect();
        assert_eq!(found, [true, false]);
    }
}
