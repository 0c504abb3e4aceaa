//! Makes tokens of one modality.

use std::iter;

use burn::module::{Module, Param};
use burn::tensor::{Bool, Device, Tensor, TensorData};
use perceiver_core::{Initialisation, Positions};
use perceiver_io::{PositionEncoding, Preprocessed};

use super::columns::{ColumnEmbeddings, TableEmbedding};
use super::{Channels, ModalityConfig, ModalityData, ModalityInput, PointsConfig};

/// Normalises one modality and adds its positions.
#[derive(Module, Debug)]
pub struct ModalityPreprocessor {
    #[module(skip)]
    config: ModalityConfig,
    /// The columns of a table, or the ids of tokens.
    embeddings: Option<ColumnEmbeddings>,
    positions: Option<PositionEncoding>,
    /// The content of masked elements, `[1, content_channels]`, if they are to be reconstructed.
    mask: Option<Param<Tensor<2>>>,
    /// `[1, padding_channels]`, if there are other modalities.
    padding: Option<Param<Tensor<2>>>,
}

impl ModalityPreprocessor {
    /// Fresh parameters for tokens of `channels` channels.
    pub(super) fn new(
        config: &ModalityConfig,
        channels: usize,
        reconstructed: bool,
        init: Initialisation,
        device: &Device,
    ) -> Self {
        let own = config.channels();
        let row = |channels| init.parameter([1, channels], device);
        Self {
            embeddings: ColumnEmbeddings::new(config, init, device),
            positions: config.positions().map(|positions| positions.init(init, device)),
            mask: reconstructed.then(|| row(config.content_channels())),
            padding: (channels > own).then(|| row(channels - own)),
            config: config.clone(),
        }
    }

    /// The tokens, in one segment without padding channels.
    ///
    /// # Panics
    /// If the data is of another kind or shape.
    pub(super) fn forward(
        &self,
        input: ModalityInput,
        masked: Option<&Tensor<2, Bool>>,
    ) -> Preprocessed {
        let ModalityInput { data, padding } = input;
        let name = self.config.name();
        let content = |values, channels| self.hide(read(values, channels), masked);
        match (&self.config, data) {
            (ModalityConfig::Series(series), ModalityData::Series(values)) => {
                self.in_order(content(values, &series.channels), series.max_length)
            }
            (ModalityConfig::Table(_), ModalityData::Table { numbers, categories }) => {
                Preprocessed::from_content(self.table().forward(numbers, categories))
            }
            (ModalityConfig::Points(points), ModalityData::Points { coordinates, features }) => {
                let places = scaled(points, coordinates, padding.as_ref());
                let positions = self.encoding().encode(places);
                match features.filter(|_| points.channels.count() > 0) {
                    None => Preprocessed::from_content(positions),
                    Some(features) => {
                        Preprocessed::with_positions(content(features, &points.channels), positions)
                    }
                }
            }
            (ModalityConfig::Grid(grid), ModalityData::Grid(values)) => {
                let values = read(values, &grid.channels);
                let device = values.device();
                let patches =
                    self.hide(in_patches(values, &grid.shape, &grid.patch_shape()), masked);
                let positions = self.encoding().grid(&grid.patches(), &device);
                Preprocessed::with_shared_positions(patches, positions)
            }
            (ModalityConfig::Tokens(tokens), ModalityData::Tokens(ids)) => {
                let content = self.hide(self.ids().forward(ids), masked);
                self.in_order(content, tokens.max_length)
            }
            (config, _) => panic!("modality `{name}` takes {}, found another kind", config.kind()),
        }
    }

    /// The right answers of a reconstruction and a mask of the known ones, both
    /// `[batch, elements, numbers]`; `None` for tokens, whose answers are scores of ids.
    pub(super) fn expected(&self, data: &ModalityData) -> Option<(Tensor<3>, Tensor<3, Bool>)> {
        let known = |values: Tensor<3>, channels| {
            let known = values.clone().is_finite();
            (normalised(values, channels), known)
        };
        Some(match (&self.config, data) {
            (ModalityConfig::Series(series), ModalityData::Series(values)) => {
                known(values.clone(), &series.channels)
            }
            (ModalityConfig::Points(points), ModalityData::Points { features, .. }) => {
                known(features.clone()?, &points.channels)
            }
            (ModalityConfig::Grid(grid), ModalityData::Grid(values)) => {
                let (values, known) = known(values.clone(), &grid.channels);
                let patch = grid.patch_shape();
                let known = in_patches(known.float(), &grid.shape, &patch).greater_elem(0.5);
                (in_patches(values, &grid.shape, &patch), known)
            }
            _ => return None,
        })
    }

    /// The vector that fills up tokens to the channels of the widest modality.
    pub(super) fn padding(&self) -> Option<Tensor<1>> {
        self.padding.as_ref().map(|padding| padding.val().flatten(0, 1))
    }

    /// Adds positions in a sequence, which do not depend on its length.
    fn in_order(&self, content: Tensor<3>, max_length: usize) -> Preprocessed {
        let [_, length, _] = content.dims();
        let device = content.device();
        let encoding = self.encoding();
        let table = if encoding.is_trainable() {
            assert!(
                length <= max_length,
                "modality `{}` has {length} elements, expected at most {max_length}",
                self.config.name()
            );
            encoding.grid(&[length], &device).to_table().narrow(0, 0, length)
        } else {
            let places = (0..length).map(|i| 2.0 * i as f32 / max_length as f32 - 1.0);
            let places = TensorData::new(places.collect::<Vec<_>>(), [1, length, 1]);
            let places = Tensor::<3>::from_data(places, (&device, content.dtype()));
            encoding.encode(places).squeeze_dim(0)
        };
        Preprocessed::with_shared_positions(content, Positions::Table(table))
    }

    /// Replaces the content of masked elements.
    fn hide(&self, content: Tensor<3>, masked: Option<&Tensor<2, Bool>>) -> Tensor<3> {
        let (Some(mask), Some(masked)) = (&self.mask, masked) else { return content };
        let [batch, elements, channels] = content.dims();
        let masked = masked.clone().unsqueeze_dim::<3>(2).expand([batch, elements, channels]);
        let vector = mask.val().unsqueeze::<3>().expand([batch, elements, channels]);
        content.mask_where(masked, vector)
    }

    fn encoding(&self) -> &PositionEncoding {
        self.positions.as_ref().expect("every kind but tables has positions")
    }

    fn table(&self) -> &TableEmbedding {
        let table = self.embeddings.as_ref().and_then(ColumnEmbeddings::table);
        table.expect("tables have embeddings of columns")
    }

    fn ids(&self) -> &burn::nn::Embedding {
        let ids = self.embeddings.as_ref().and_then(ColumnEmbeddings::ids);
        ids.expect("tokens have embeddings of ids")
    }
}

/// A constant of the configuration beside other numbers.
pub(super) fn constant(numbers: &[f64], like: &Tensor<3>) -> Tensor<3> {
    let data = TensorData::new(numbers.to_vec(), [1, 1, numbers.len()]);
    Tensor::from_data(data.convert::<f32>(), (&like.device(), like.dtype()))
}

/// Normalised numbers; one that is missing, or not finite, counts as the mean.
fn normalised(values: Tensor<3>, channels: &Channels) -> Tensor<3> {
    let [_, _, found] = values.dims();
    let expected = channels.count();
    assert!(found == expected, "the data has {found} channels, expected {expected}");
    let mean = constant(&channels.mean, &values);
    let deviation = constant(&channels.deviation, &values);
    let missing = values.clone().is_finite().bool_not();
    ((values - mean) / deviation).mask_fill(missing, 0.0)
}

/// The channels that the model reads: the numbers and, if training data lacked some, where they are
/// missing.
fn read(values: Tensor<3>, channels: &Channels) -> Tensor<3> {
    let missing = channels.missing.then(|| values.clone().is_finite().bool_not().float());
    let values = normalised(values, channels);
    match missing {
        Some(missing) => Tensor::cat(vec![values.clone(), missing.cast(values.dtype())], 2),
        None => values,
    }
}

/// Coordinates from about -1 to 1.
fn scaled(
    config: &PointsConfig,
    coordinates: Tensor<3>,
    padding: Option<&Tensor<2, Bool>>,
) -> Tensor<3> {
    // Padding may hold anything, and its tokens must not be NaN, which a mask does not hide.
    let coordinates = match padding {
        Some(padding) => {
            let padding = padding.clone().unsqueeze_dim::<3>(2).expand(coordinates.dims());
            coordinates.mask_fill(padding, 0.0)
        }
        None => coordinates,
    };
    let relative = if config.centred {
        let kept = match padding {
            Some(padding) => padding.clone().bool_not().float().unsqueeze_dim::<3>(2),
            None => Tensor::ones_like(&coordinates).narrow(2, 0, 1),
        };
        let kept = kept.cast(coordinates.dtype());
        let mean = (coordinates.clone() * kept.clone()).sum_dim(1) / kept.sum_dim(1);
        coordinates - mean
    } else {
        let centre = constant(&config.centre, &coordinates);
        coordinates - centre
    };
    relative / config.scale
}

/// Patches of a grid, row by row.
///
/// # Shapes
/// - `cells`: `[batch, cells, channels]`
/// - returns: `[batch, patches, patch_cells · channels]`
fn in_patches(cells: Tensor<3>, shape: &[usize], patch: &[usize]) -> Tensor<3> {
    let [batch, found, channels] = cells.dims();
    let expected: usize = shape.iter().product();
    assert!(found == expected, "the data has {found} cells, expected {expected} of {shape:?}");
    if patch.iter().all(|&length| length == 1) {
        return cells;
    }
    // Axis by axis, the cells inside a patch move behind the patches: burn-ndarray has six axes at most.
    let counts: Vec<usize> = iter::zip(shape, patch).map(|(side, length)| side / length).collect();
    let (mut patches, mut inside) = (batch * counts[0], patch[0]);
    let mut moved = cells;
    for (&count, &length) in iter::zip(&counts, patch).skip(1) {
        let rest = batch * found * channels / (patches * inside * count);
        let swapped = moved.reshape([patches, inside, count, rest]).swap_dims(1, 2);
        moved = swapped.reshape([batch, found, channels]);
        patches *= count;
        inside *= length;
    }
    moved.reshape([batch, patches / batch, inside * channels])
}
