//! Embeddings of the columns of a table, and of ids.

use burn::module::{Module, Param};
use burn::nn::Embedding;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use perceiver_core::Initialisation;

use super::{ModalityConfig, TableConfig};

/// Learned vectors of a modality's cells or ids.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a model has a few of them")]
pub(super) enum ColumnEmbeddings {
    Table(TableEmbedding),
    Ids(Embedding),
}

/// A token for each column: its number times a learned vector plus another one, or the vector of its
/// category.
#[derive(Module, Debug)]
pub(super) struct TableEmbedding {
    /// `[columns, embedding]`.
    weight: Param<Tensor<2>>,
    /// `[columns, embedding]`.
    bias: Param<Tensor<2>>,
    /// `[columns, embedding]`, instead of a number that is missing.
    missing: Param<Tensor<2>>,
    /// `[entries, embedding]`: for each column of names a missing cell, an unknown category, and its
    /// categories.
    categories: Option<Embedding>,
    #[module(skip)]
    config: TableConfig,
}

impl ColumnEmbeddings {
    pub(super) fn new(
        config: &ModalityConfig,
        init: Initialisation,
        device: &Device,
    ) -> Option<Self> {
        match config {
            ModalityConfig::Table(table) => {
                Some(Self::Table(TableEmbedding::new(table, init, device)))
            }
            ModalityConfig::Tokens(tokens) => {
                Some(Self::Ids(init.embedding(tokens.vocabulary, tokens.embedding, device)))
            }
            _ => None,
        }
    }

    pub(super) const fn table(&self) -> Option<&TableEmbedding> {
        match self {
            Self::Table(table) => Some(table),
            Self::Ids(_) => None,
        }
    }

    pub(super) const fn ids(&self) -> Option<&Embedding> {
        match self {
            Self::Ids(ids) => Some(ids),
            Self::Table(_) => None,
        }
    }
}

impl TableEmbedding {
    fn new(config: &TableConfig, init: Initialisation, device: &Device) -> Self {
        let rows = || init.parameter([config.columns.len(), config.embedding], device);
        let entries = offsets(config).1;
        Self {
            weight: rows(),
            bias: rows(),
            missing: rows(),
            categories: (entries > 0).then(|| init.embedding(entries, config.embedding, device)),
            config: config.clone(),
        }
    }

    /// # Shapes
    /// - `numbers`, `categories`: `[batch, columns]`
    /// - returns: `[batch, columns, embedding]`
    ///
    /// # Panics
    /// If there are more or fewer columns.
    pub(super) fn forward(&self, numbers: Tensor<2>, categories: Tensor<2, Int>) -> Tensor<3> {
        let columns = &self.config.columns;
        let [batch, found] = numbers.dims();
        assert!(found == columns.len(), "a row has {found} cells, expected {}", columns.len());
        let (device, shape) = (numbers.device(), [batch, found, self.config.embedding]);
        let row = |numbers: Vec<f64>| {
            let data = TensorData::new(numbers, [1, found]).convert::<f32>();
            Tensor::<2>::from_data(data, (&device, self.weight.val().dtype()))
        };
        let mean = row(columns.iter().map(|column| column.mean).collect());
        let deviation = row(columns.iter().map(|column| column.deviation).collect());
        let values = (numbers - mean) / deviation;
        let empty = values.clone().is_nan();
        let values: Tensor<3> = values.mask_fill(empty.clone(), 0.0).unsqueeze_dim(2);
        let tokens = values * self.weight.val().unsqueeze::<3>() + self.bias.val().unsqueeze::<3>();
        let wide = |mask: Tensor<2, Bool>| mask.unsqueeze_dim::<3>(2).expand(shape);
        let missing = self.missing.val().unsqueeze::<3>().expand(shape);
        let tokens = tokens.mask_where(wide(empty), missing);
        let Some(embedding) = &self.categories else { return tokens };
        let (offsets, _) = offsets(&self.config);
        let names: Vec<bool> = offsets.iter().map(Option::is_some).collect();
        let named = Tensor::<2, Bool>::from_data(TensorData::new(names, [1, found]), &device);
        let offsets: Vec<i64> = offsets.iter().map(|offset| offset.unwrap_or(0) as i64).collect();
        let offsets = Tensor::<2, Int>::from_data(TensorData::new(offsets, [1, found]), &device);
        let named = named.expand([batch, found]);
        let entries = (categories + offsets).mask_fill(named.clone().bool_not(), 0);
        tokens.mask_where(wide(named), embedding.forward(entries))
    }
}

/// The first entry of each column of names, and the number of entries.
fn offsets(config: &TableConfig) -> (Vec<Option<usize>>, usize) {
    let mut entries = 0;
    let offsets = config.columns.iter().map(|column| {
        let categories = column.categories.as_ref()?;
        let first = entries;
        entries += categories.len() + 2;
        Some(first)
    });
    (offsets.collect(), entries)
}
