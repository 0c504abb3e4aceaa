use std::fs;
use std::path::{Path, PathBuf};

use rand_chacha::ChaCha8Rng;

use super::class_names::{ClassNames, LabelForm};
use super::{LabelledImage, Remarks, Source, only_class};
use crate::error::{Error, Result};
use crate::folder_files::{FileKind, FolderFiles, note, passed_over_note};
use crate::read_image::read_image;

/// A folder with one subfolder of images per class, named after the class.
///
/// Hidden files and folders are skipped. Files without an image extension, files outside of class
/// folders and subfolders of class folders are skipped and [noted](Source::remarks). Each image is read when it is
/// requested.
///
/// # Source
/// `torchvision.datasets.ImageFolder`
///
/// # Differences
/// Class names that are all whole numbers are sorted
/// as numbers.
#[derive(Debug, Clone)]
pub struct ImageFolder {
    images: Vec<(PathBuf, usize)>,
    names: ClassNames,
    form: LabelForm,
    folder: PathBuf,
    notes: Vec<String>,
}

impl ImageFolder {
    /// Lists the images. `names` lists the classes that a model already has, such as those of its
    /// training data; without it, the folders' names are the classes. Folders that all have the index
    /// of a class for a name, and none the name of a class, are taken by index.
    ///
    /// # Errors
    /// Returns an error if a folder cannot be read, if a class has no images or is not in `names`, or if
    /// there are no classes.
    pub fn open(folder: impl AsRef<Path>, names: Option<&[String]>) -> Result<Self> {
        let folder = folder.as_ref();
        let (mut found, mut outside) = (Vec::new(), Vec::new());
        for path in entries(folder)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            match path.is_dir() {
                true => found.push((path, name)),
                false => outside.push(path),
            }
        }
        if found.is_empty() {
            let reason = "it has no subfolders, expected one per class";
            return Err(Error::data(folder, reason));
        }
        let names = names.map_or_else(
            || ClassNames::collect(found.iter().map(|(_, name)| name.as_str())),
            ClassNames::given,
        );
        let form = names.form(found.iter().map(|(_, name)| name.as_str()));
        let numbers = names.numbers(form);
        let mut images = Vec::new();
        let outside = note(folder, "outside of the folders of classes", &outside);
        let mut notes: Vec<_> = outside.into_iter().collect();
        for (place, class) in &found {
            let number = numbers.get(class.as_str());
            let number = *number.ok_or_else(|| {
                let known = names.listed();
                Error::data(place, format!("its name is not one of the classes {known}"))
            })?;
            let FolderFiles { files, passed_over } = FolderFiles::list(place, FileKind::Image)?;
            if files.is_empty() {
                return Err(Error::data(place, "it holds no images"));
            }
            images.extend(files.into_iter().map(|path| (path, number)));
            notes.extend(passed_over_note(place, FileKind::Image, &passed_over));
        }
        let folder = folder.to_path_buf();
        Ok(Self { images, names, form, folder, notes })
    }

    /// Class names, in the order of their numbers.
    #[must_use]
    pub fn class_names(&self) -> &[String] {
        self.names.names()
    }

    /// If true, labels were taken as indexes of classes, since not one of them is a name.
    #[must_use]
    pub fn labels_are_indexes(&self) -> bool {
        self.form == LabelForm::Indexes
    }

    /// The class of all images, if they have only one: there is then nothing to learn.
    #[must_use]
    pub fn only_class(&self) -> Option<usize> {
        only_class(self.images.iter().map(|(_, class)| *class))
    }
}

impl Source for ImageFolder {
    type Example = LabelledImage;

    fn len(&self) -> usize {
        self.images.len()
    }

    fn example(&self, index: usize, _random: &mut ChaCha8Rng) -> Result<LabelledImage> {
        let (path, label) = &self.images[index];
        Ok(LabelledImage { image: read_image(path)?, label: *label })
    }

    fn remarks(&self) -> Remarks {
        let mut remarks = self.names.remarks(&self.folder, self.form);
        remarks.notes.extend_from_slice(&self.notes);
        remarks
    }
}

/// Sorted entries of a folder; the operating system lists them in any order.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let paths = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<Result<_, _>>());
    let mut paths: Vec<PathBuf> = paths.map_err(Error::io(folder, "read"))?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use image::{Rgb, RgbImage};
    use rand::SeedableRng;

    use super::*;

    /// One pixel an image, whose red is the number of the file.
    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (level, file) in (0..).zip(files) {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let image = RgbImage::from_pixel(1, 1, Rgb([level, 0, 0]));
            image.save_with_format(path, image::ImageFormat::Png).unwrap();
        }
        folder
    }

    fn red_and_label(source: &ImageFolder) -> Vec<(u8, usize)> {
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let red_and_label = |index| {
            let example = source.example(index, &mut random).unwrap();
            (example.image[(0, 0)][0], example.label)
        };
        (0..source.len()).map(red_and_label).collect()
    }

    #[test]
    fn folders_are_the_classes_in_the_order_of_their_names() {
        let files = ["dog/b.png", "dog/a.PNG", "cat/x.jpg", ".git/x.png", "cat/x.txt", "x.png"];
        let folder = folder(&files);
        let source = ImageFolder::open(folder.path(), None).unwrap();
        assert_eq!(source.class_names(), ["cat", "dog"]);
        assert_eq!(red_and_label(&source), [(2, 0), (1, 1), (0, 1)]);
    }

    #[test]
    fn files_that_are_not_images_are_noted() {
        let files =
            ["cat/x.jfif", "cat/y.heic", "cat/.z.heic", "dog/x.PNG", "dog/more/a.png", "b.png"];
        let folder = folder(&files);
        let source = ImageFolder::open(folder.path(), None).unwrap();
        assert_eq!(source.len(), 2);
        let path = folder.path().display();
        let [cat, dog] = ["cat", "dog"].map(|class| folder.path().join(class));
        let (cat, dog) = (cat.display(), dog.display());
        let expected = [
            format!("{path}: passed over, outside of the folders of classes: b.png"),
            format!("{cat}: passed over, without the ending of an image: y.heic"),
            format!("{dog}: passed over, without the ending of an image: more/"),
        ];
        assert_eq!(source.remarks().notes, expected);
    }

    #[test]
    fn given_classes_keep_their_numbers_and_others_are_refused() {
        let folder = folder(&["dog/a.png"]);
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let source = ImageFolder::open(folder.path(), Some(&names(&["emu", "dog"]))).unwrap();
        assert_eq!(red_and_label(&source), [(0, 1)]);
        let error = ImageFolder::open(folder.path(), Some(&names(&["emu"]))).unwrap_err();
        assert!(
            error.to_string().ends_with("dog: its name is not one of the classes \"emu\""),
            "{error}"
        );
    }

    #[test]
    fn folders_named_after_indexes_are_taken_by_index_and_said_to_be() {
        let folder = folder(&["1/a.png", "0/b.png"]);
        let names = ["emu".to_owned(), "dog".to_owned(), "cat".to_owned()];
        let source = ImageFolder::open(folder.path(), Some(&names)).unwrap();
        assert_eq!(red_and_label(&source), [(1, 0), (0, 1)]);
        let notes = source.remarks().notes;
        assert!(notes.len() == 1 && notes[0].contains("by index, 0 as \"emu\""), "{notes:?}");
        assert!(ImageFolder::open(folder.path(), None).unwrap().remarks().notes.is_empty());
    }

    #[test]
    fn a_class_without_images_is_refused() {
        let folder = folder(&["cat/a.png", "dog/a.txt"]);
        let error = ImageFolder::open(folder.path(), None).unwrap_err().to_string();
        assert!(error.ends_with("dog: it holds no images"), "{error}");
    }

    #[test]
    fn a_folder_without_classes_is_refused() {
        let folder = folder(&["a.png"]);
        let error = ImageFolder::open(folder.path(), None).unwrap_err().to_string();
        assert!(error.contains("no subfolders"), "{error}");
    }

    #[test]
    fn a_damaged_image_is_named_when_asked_for() {
        let folder = folder(&["cat/a.png"]);
        fs::write(folder.path().join("cat/a.png"), "no image").unwrap();
        let source = ImageFolder::open(folder.path(), None).unwrap();
        let error = source.example(0, &mut ChaCha8Rng::seed_from_u64(0)).unwrap_err();
        assert!(error.to_string().contains("a.png: cannot read the image"), "{error}");
    }
}
