use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use image::RgbImage;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{FlowPair, read_flow};
use crate::error::{Error, Result};
use crate::folder_files::{FileKind, FolderFiles, note};
use crate::read_image;
use crate::source::{Remarks, Source};

/// Pairs of frames in a folder, with ground-truth flow.
///
/// Two layouts are supported: `NAME.flo` beside images `NAME_1` and `NAME_2`; and KITTI's
/// `flow_occ/NAME_10.png` with `image_2/NAME_10.png` and `image_2/NAME_11.png`. Files are read
/// again for every example.
#[derive(Debug)]
pub struct FlowPairs {
    pairs: Vec<Files>,
    crop: Option<[usize; 2]>,
    /// Why pairs were left out.
    left_out: Vec<String>,
    /// A line about images that belong to no pair.
    note: Option<String>,
}

#[derive(Debug)]
struct Files {
    first: PathBuf,
    second: PathBuf,
    truth: PathBuf,
}

impl FlowPairs {
    /// Whole pairs, for evaluation. Leaves out pairs that lack a frame; [`remarks`](Source::remarks)
    /// names them.
    ///
    /// # Errors
    /// Returns an error if the folder has no pairs in either layout, or all of them lack a frame.
    pub fn whole(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let kitti = folder.join("flow_occ");
        let is_kitti = kitti.is_dir();
        let images = folder.join("image_2");
        let (place, ending) =
            if is_kitti { (kitti.as_path(), "_10.png") } else { (folder, ".flo") };
        let (mut pairs, mut incomplete) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(place).map_err(Error::io(place, "read"))? {
            let truth = entry.map_err(Error::io(place, "read"))?.path();
            let name = truth.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_truth = name.to_ascii_lowercase().ends_with(ending) && !name.starts_with('.');
            let end = name.len().saturating_sub(ending.len());
            let Some(name) = name.get(..end).filter(|_| is_truth) else {
                continue;
            };
            let frame = |number: usize| {
                if is_kitti {
                    let number = number + 9;
                    frame(&truth, folder.join(format!("image_2/{name}_{number}")), &["png"])
                } else {
                    // The name as the system has it, which need not be Unicode.
                    let mut name = truth.file_stem().unwrap_or_default().to_os_string();
                    name.push(format!("_{number}"));
                    frame(&truth, folder.join(name), FileKind::Image.endings())
                }
            };
            match (frame(1), frame(2)) {
                (Ok(first), Ok(second)) => pairs.push(Files { first, second, truth }),
                (Err(error), _) | (_, Err(error)) => incomplete.push((truth, error)),
            }
        }
        incomplete.sort_by(|(one, _), (other, _)| one.cmp(other));
        if pairs.is_empty() && !incomplete.is_empty() {
            return Err(incomplete.swap_remove(0).1);
        }
        if pairs.is_empty() {
            let reason = "it holds no pairs, expected NAME.flo beside NAME_1 and NAME_2, or KITTI's \
                          flow_occ and image_2";
            return Err(Error::Flow { path: folder.to_owned(), reason: reason.to_owned() });
        }
        pairs.sort_by(|one, other| one.truth.cmp(&other.truth));
        let left_out = incomplete.into_iter().map(|(_, error)| error.to_string()).collect();
        let note = unpaired(if is_kitti { &images } else { folder }, &pairs)?;
        Ok(Self { pairs, crop: None, left_out, note })
    }

    /// Random crops of this height and width, some flipped horizontally or vertically, for training.
    ///
    /// # Errors
    /// As [`whole`](Self::whole).
    ///
    /// # Source
    /// Flip probabilities, 0.5 and 0.1, are those of RAFT (Teed and Deng 2020).
    pub fn crops(folder: impl AsRef<Path>, size: [usize; 2]) -> Result<Self> {
        Ok(Self { crop: Some(size), ..Self::whole(folder)? })
    }
}

impl Source for FlowPairs {
    type Example = FlowPair;

    fn len(&self) -> usize {
        self.pairs.len()
    }

    fn example(&self, index: usize, random: &mut ChaCha8Rng) -> Result<FlowPair> {
        let files = &self.pairs[index];
        let pair = files.read()?;
        let Some(size) = self.crop else { return Ok(pair) };
        let [height, width] = size;
        let (rows, columns) = pair.valid.dim();
        let (Some(below), Some(beside)) = (rows.checked_sub(height), columns.checked_sub(width))
        else {
            let reason = format!("{columns}x{rows} pixels, expected {width}x{height} or more");
            return Err(Error::Flow { path: files.first.clone(), reason });
        };
        let start = [random.random_range(0..=below), random.random_range(0..=beside)];
        let mut part = pair.crop(start, size);
        if random.random_bool(0.5) {
            part.flip_horizontal();
        }
        if random.random_bool(0.1) {
            part.flip_vertical();
        }
        Ok(part)
    }

    fn remarks(&self) -> Remarks {
        let notes = self.note.clone().into_iter().collect();
        Remarks { left_out: self.left_out.clone(), notes }
    }
}

/// A line about images of a folder that belong to no pair, if there are any.
fn unpaired(folder: &Path, pairs: &[Files]) -> Result<Option<String>> {
    let used: HashSet<&PathBuf> =
        pairs.iter().flat_map(|pair| [&pair.first, &pair.second]).collect();
    let mut images = FolderFiles::list(folder, FileKind::Image)?.files;
    images.retain(|image| !used.contains(image));
    Ok(note(folder, "without a pair and its flow", &images))
}

impl Files {
    fn read(&self) -> Result<FlowPair> {
        let truth = read_flow(&self.truth)?;
        let frame = |path: &Path| -> Result<RgbImage> {
            let frame = read_image(path)?;
            let (rows, columns) = truth.known.dim();
            let (width, height) = frame.dimensions();
            if (height as usize, width as usize) != (rows, columns) {
                let reason = format!("{width}x{height} pixels, its flow has {columns}x{rows}");
                return Err(Error::Flow { path: path.to_owned(), reason });
            }
            Ok(frame)
        };
        let (first, second) = (frame(&self.first)?, frame(&self.second)?);
        Ok(FlowPair { first, second, flow: truth.flow, valid: truth.known })
    }
}

/// The image at this path with one of the extensions.
fn frame(truth: &Path, path: PathBuf, endings: &[&str]) -> Result<PathBuf> {
    let cases = endings.iter().flat_map(|ending| [(*ending).to_owned(), ending.to_uppercase()]);
    let mut candidates = cases.map(|ending| {
        let mut name = path.clone().into_os_string();
        name.push(format!(".{ending}"));
        PathBuf::from(name)
    });
    candidates.find(|candidate| candidate.is_file()).ok_or_else(|| Error::Flow {
        path: truth.to_owned(),
        reason: format!("its frame {}.{} is missing", path.display(), endings.join(" or .")),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use image::Rgb;
    use ndarray::Array3;
    use rand::SeedableRng;

    use super::super::{encode_flo, encode_kitti};
    use super::*;

    /// Red is the column and a constant, green the row.
    fn image(constant: u8) -> RgbImage {
        RgbImage::from_fn(8, 6, |x, y| Rgb([constant + x as u8, y as u8, 0]))
    }

    /// At each place its column and its row.
    fn flow() -> Array3<f32> {
        Array3::from_shape_fn((6, 8, 2), |(y, x, axis)| [x, y][axis] as f32)
    }

    fn middlebury(folder: &Path) {
        image(0).save(folder.join("b.v2_1.png")).unwrap();
        image(100).save(folder.join("b.v2_2.bmp")).unwrap();
        fs::write(folder.join("b.v2.flo"), encode_flo(flow().view())).unwrap();
        fs::write(folder.join("notes.txt"), "").unwrap();
    }

    #[test]
    fn frames_lie_beside_their_flo_file() {
        let folder = tempfile::tempdir().unwrap();
        middlebury(folder.path());
        let pairs = FlowPairs::whole(folder.path()).unwrap();
        assert_eq!(pairs.len(), 1);
        let pair = pairs.example(0, &mut ChaCha8Rng::seed_from_u64(0)).unwrap();
        assert_eq!((pair.first, pair.second, pair.flow), (image(0), image(100), flow()));
        assert!(pair.valid.iter().all(|&valid| valid));
        assert_eq!(pairs.remarks(), Remarks::default());
        image(0).save(folder.path().join("c_1.png")).unwrap();
        let notes = FlowPairs::whole(folder.path()).unwrap().remarks().notes;
        let expected = "passed over, without a pair and its flow: c_1.png";
        assert_eq!(notes, [format!("{}: {expected}", folder.path().display())]);
    }

    #[test]
    fn endings_may_be_in_upper_case() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        image(0).save_with_format(place("a_1.JPE"), image::ImageFormat::Png).unwrap();
        image(0).save_with_format(place("a_2.PNG"), image::ImageFormat::Png).unwrap();
        fs::write(place("a.FLO"), encode_flo(flow().view())).unwrap();
        assert_eq!(FlowPairs::whole(folder.path()).unwrap().len(), 1);
    }

    #[test]
    fn kitti_s_folders_are_read() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("flow_occ")).unwrap();
        fs::create_dir(folder.path().join("image_2")).unwrap();
        let mut flow = flow();
        flow[[1, 2, 0]] = f32::NAN;
        for (index, name) in ["000001", "000000"].into_iter().enumerate() {
            let place =
                |rest: &str| folder.path().join(format!("{rest}.png").replace("NAME", name));
            image(index as u8).save(place("image_2/NAME_10")).unwrap();
            image(100).save(place("image_2/NAME_11")).unwrap();
            fs::write(place("flow_occ/NAME_10"), encode_kitti(flow.view())).unwrap();
        }
        let pairs = FlowPairs::whole(folder.path()).unwrap();
        assert_eq!(pairs.len(), 2);
        let pair = pairs.example(0, &mut ChaCha8Rng::seed_from_u64(0)).unwrap();
        assert_eq!((&pair.first, &pair.second), (&image(1), &image(100)));
        assert!(!pair.valid[[1, 2]] && pair.valid[[2, 1]]);
        assert_eq!([pair.flow[[5, 7, 0]], pair.flow[[5, 7, 1]]], [7.0, 5.0]);
    }

    /// A pixel's colours, its flow and the second frame agree on its position.
    #[test]
    fn crops_and_flips_keep_pixels_and_their_flow_together() {
        let folder = tempfile::tempdir().unwrap();
        middlebury(folder.path());
        let pairs = FlowPairs::crops(folder.path(), [3, 4]).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut seen = HashSet::new();
        for _ in 0..300 {
            let pair = pairs.example(0, &mut random).unwrap();
            assert_eq!(pair.valid.dim(), (3, 4));
            for ((y, x), _) in pair.valid.indexed_iter() {
                let [column, row, _] = pair.first.get_pixel(x as u32, y as u32).0;
                assert_eq!(pair.second.get_pixel(x as u32, y as u32).0, [column + 100, row, 0]);
                let flow = [pair.flow[[y, x, 0]].abs(), pair.flow[[y, x, 1]].abs()];
                assert_eq!(flow, [f32::from(column), f32::from(row)]);
            }
            let corners = [[0, 0], [3, 2]].map(|[x, y]| pair.first.get_pixel(x, y).0);
            let mirrored = corners[0][0] > corners[1][0];
            let turned = corners[0][1] > corners[1][1];
            assert!(
                pair.flow.iter().step_by(2).all(|&right| right == 0.0 || (right < 0.0) == mirrored)
            );
            assert!(
                pair.flow
                    .iter()
                    .skip(1)
                    .step_by(2)
                    .all(|&down| down == 0.0 || (down < 0.0) == turned)
            );
            seen.insert((corners[0], mirrored, turned));
        }
        // Five columns by four rows to begin at, flipped in both ways or not.
        assert!((40..=80).contains(&seen.len()), "{}", seen.len());
    }

    #[test]
    fn a_pair_without_a_frame_is_left_out_and_named() {
        let folder = tempfile::tempdir().unwrap();
        middlebury(folder.path());
        fs::write(folder.path().join("c.flo"), encode_flo(flow().view())).unwrap();
        let pairs = FlowPairs::whole(folder.path()).unwrap();
        assert_eq!(pairs.len(), 1);
        let left_out = pairs.remarks().left_out;
        assert!(left_out.len() == 1 && left_out[0].contains("c.flo: its frame "), "{left_out:?}");
    }

    #[test]
    fn what_is_missing_or_of_another_size_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let message = || FlowPairs::whole(folder.path()).unwrap_err().to_string();
        assert!(message().contains("holds no pairs, expected NAME.flo beside"), "{}", message());
        middlebury(folder.path());
        let crops = FlowPairs::crops(folder.path(), [7, 4]).unwrap();
        let error = |pairs: &FlowPairs| {
            pairs.example(0, &mut ChaCha8Rng::seed_from_u64(0)).unwrap_err().to_string()
        };
        assert!(error(&crops).ends_with("b.v2_1.png: 8x6 pixels, expected 4x7 or more"));
        RgbImage::new(8, 5).save(folder.path().join("b.v2_1.png")).unwrap();
        let unequal = error(&FlowPairs::whole(folder.path()).unwrap());
        assert!(unequal.ends_with("b.v2_1.png: 8x5 pixels, its flow has 8x6"), "{unequal}");
        fs::remove_file(folder.path().join("b.v2_2.bmp")).unwrap();
        assert!(message().contains("b.v2.flo: its frame "), "{}", message());
        assert!(message().contains("b.v2_2.png or .jpg"), "{}", message());
    }
}
