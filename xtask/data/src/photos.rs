//! Gathers colour photos of several packages in one folder, and photos of other scenes in a second one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const EXAMPLES: &str = "usr/share/doc/opencv-doc/examples";
const MANUAL: &str = "usr/share/doc/opencv-doc/opencv4/html";
const SKIMAGE: &str = "usr/lib/python3/dist-packages/skimage/data";
const JXL: &str = "usr/share/libjxl-testdata";

/// Folders, each found in one of the packages, and their photos.
type Photos = [(&'static str, &'static [&'static str])];

/// Training photos for flow, and one painting, without the pairs that flow is tested on.
const TRAIN: &Photos = &[
    (
        EXAMPLES,
        &[
            "alphamat/input_images/plant.jpg",
            "data/aero1.jpg",
            "data/apple.jpg",
            "data/baboon.jpg",
            "data/board.jpg",
            "data/building.jpg",
            "data/butterfly.jpg",
            "data/chicky_512.png",
            "data/ela_original.jpg",
            "data/fruits.jpg",
            "data/graf1.png",
            "data/left.jpg",
            "data/licenseplate_motion.jpg",
            "data/messi5.jpg",
            "data/orange.jpg",
            "data/smarties.png",
            "data/starry_night.jpg",
            "data/stuff.jpg",
            "dnn_superres/butterfly.png",
            "fuzzy/input.png",
            "hfs/data/000.jpg",
            "hfs/data/001.jpg",
            "hfs/data/002.jpg",
            "reg/home.png",
            "text/scenetext01.jpg",
            "text/scenetext02.jpg",
            "text/scenetext03.jpg",
            "text/scenetext04.jpg",
            "text/scenetext06.jpg",
            "text/scenetext_segmented_word01.jpg",
            "text/scenetext_segmented_word02.jpg",
            "text/scenetext_segmented_word03.jpg",
            "text/scenetext_segmented_word04.jpg",
        ],
    ),
    (
        MANUAL,
        &[
            "4_barcodes.jpg",
            "Back_Projection_Theory0.jpg",
            "Background_Subtraction_Tutorial_frame.jpg",
            "Hough_Lines_Tutorial_Original_Image.jpg",
            "Morphology_1_Tutorial_Original_Image.jpg",
            "Remap_Tutorial_Original_Image.jpg",
            "Warp_Affine_Tutorial_Original_Image.jpg",
            "affinepano.jpg",
            "astra_color.jpg",
            "bicubicOutput.jpg",
            "boat.jpg",
            "cat_det.jpg",
            "coins.jpg",
            "corridor_fld.jpg",
            "fusion_mertens.jpg",
            "person_multi_det.jpg",
            "pexels_double_decker_bus.jpg",
            "retina_TreeHdr_small.jpg",
            "space_shuttle.jpg",
            "studentsSample_input.jpg",
        ],
    ),
    (SKIMAGE, &["ihc.png", "retina.jpg"]),
    (
        JXL,
        &[
            "external/wesaturate/500px/cvo9xd_keong_macan_srgb8.png",
            "external/wesaturate/500px/u76c0g_bliznaca_srgb8.png",
            "jxl/flower/flower.png",
        ],
    ),
];

/// Scenes that are in none of the others.
const HELD_OUT: &Photos = &[
    (
        EXAMPLES,
        &["data/home.jpg", "data/leuvenA.jpg", "data/squirrel_cls.jpg", "text/scenetext05.jpg"],
    ),
    (SKIMAGE, &["astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg"]),
    (JXL, &["external/wesaturate/500px/tmshre_riaphotographs_alpha.png", "jxl/hdr_room.png"]),
];

/// Copies the photos into the folders `train` and `held-out`.
pub(super) fn gather(packages: &[PathBuf], folder: &Path) -> Result<()> {
    for (part, photos) in [("train", TRAIN), ("held-out", HELD_OUT)] {
        let part = folder.join(part);
        fs::create_dir(&part)?;
        for (name, names) in photos {
            let mut places = packages.iter().map(|package| package.join(name));
            let place = places.find(|place| place.is_dir());
            let place = place.with_context(|| format!("no package has a folder {name}"))?;
            for name in *names {
                let photo = place.join(name);
                let file_name = photo.file_name().unwrap_or_default();
                fs::copy(&photo, part.join(file_name))
                    .with_context(|| format!("cannot copy {}", photo.display()))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn names(photos: &Photos) -> impl Iterator<Item = &'static str> {
        let paths = photos.iter().flat_map(|(_, names)| names.iter());
        paths.map(|path| path.rsplit('/').next().unwrap_or(path))
    }

    #[test]
    fn no_photo_takes_another_one_s_name() {
        for photos in [TRAIN, HELD_OUT] {
            let distinct: HashSet<_> = names(photos).collect();
            assert_eq!(distinct.len(), names(photos).count());
        }
    }

    #[test]
    fn nothing_is_learned_from_pairs_that_flow_is_tried_on() {
        let tried = |name: &str| {
            ["motorcycle", "aloe", "rubberwhale"].iter().any(|pair| name.starts_with(pair))
        };
        assert!(!names(TRAIN).any(tried));
    }
}
