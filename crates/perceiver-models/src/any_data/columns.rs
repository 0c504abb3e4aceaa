//! Embeddings of the columns of a table, and of ids.

use burn::module::{Initializer, Module, Param};
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

/// A token for each column: the column's own vector, plus another one times its number or that of its
/// category. A category that training did not see adds nothing.
#[derive(Module, Debug)]
pub(super) struct TableEmbedding {
    /// `[columns, embedding]`, by which numbers are multiplied; unused in a column of categories.
    weight: Param<Tensor<2>>,
    /// `[columns, embedding]`, the columns' own vectors.
    bias: Param<Tensor<2>>,
    /// `[columns, embedding]`, added where a cell is missing. It starts at zero, so that a gap in a
    /// column that had none in training counts as its mean.
    missing: Param<Tensor<2>>,
    /// `[entries, embedding]`, the categories of one column after another.
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
            missing: Initializer::Zeros.init([config.columns.len(), config.embedding], device),
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
        let (device, numbers_type) = (numbers.device(), numbers.dtype());
        let row = |numbers: Vec<f64>| {
            let data = TensorData::new(numbers, [1, found]).convert::<f32>();
            Tensor::<2>::from_data(data, (&device, numbers_type))
        };
        let mean = row(columns.iter().map(|column| column.mean).collect());
        let deviation = row(columns.iter().map(|column| column.deviation).collect());
        let (offsets, _) = offsets(&self.config);
        let names: Vec<bool> = offsets.iter().map(Option::is_some).collect();
        let named = Tensor::<2, Bool>::from_data(TensorData::new(names, [1, found]), &device);
        let named = named.expand([batch, found]);
        let unknown = numbers.clone().is_finite().bool_not();
        let empty = unknown.clone().mask_where(named.clone(), categories.clone().equal_elem(0));
        let values = ((numbers - mean) / deviation).mask_fill(unknown.bool_or(named.clone()), 0.0);
        let wide = |values: Tensor<2>| values.unsqueeze_dim::<3>(2);
        let table = |vectors: &Param<Tensor<2>>| vectors.val().unsqueeze::<3>();
        let shares = |mask: Tensor<2, Bool>| wide(mask.float().cast(numbers_type));
        let tokens = wide(values) * table(&self.weight)
            + table(&self.bias)
            + shares(empty) * table(&self.missing);
        let Some(embedding) = &self.categories else { return tokens };
        let offsets: Vec<i64> = offsets.iter().map(|offset| offset.unwrap_or(0) as i64).collect();
        let offsets = Tensor::<2, Int>::from_data(TensorData::new(offsets, [1, found]), &device);
        let known = categories.clone().greater_equal_elem(FIRST_CATEGORY).bool_and(named);
        let entries =
            (categories - FIRST_CATEGORY + offsets).mask_fill(known.clone().bool_not(), 0);
        tokens + embedding.forward(entries) * shares(known)
    }
}

/// The id of a column's first category, after those of a missing cell and of an unknown category.
const FIRST_CATEGORY: i64 = 2;

/// The first entry of each column of names, and the number of entries.
fn offsets(config: &TableConfig) -> (Vec<Option<usize>>, usize) {
    let mut entries = 0;
    let offsets = config.columns.iter().map(|column| {
        let categories = column.categories.as_ref()?;
        let first = entries;
        entries += categories.len();
        Some(first)
    });
    (offsets.collect(), entries)
}
