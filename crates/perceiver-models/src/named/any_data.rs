//! Named tensors of a model for any data.

use burn::tensor::{Int, Tensor, TensorData};

use super::inputs::{Inputs, expect_rank, integers, outside};
use crate::Error;
use crate::any_data::{
    AnyDataConfig, AnyDataInput, ModalityConfig, ModalityData, ModalityInput, TableConfig,
};

impl Inputs<'_> {
    /// Every modality by its name: `inputs.row`, and `.coordinates`, `.categories`, `.padding` of it.
    pub(super) fn any_data(&mut self) -> Result<AnyDataInput, Error> {
        let config = AnyDataConfig::read(self.config)?;
        let mut batch = None;
        let modalities = config.modalities.iter().map(|modality| {
            let name = format!("inputs.{}", modality.name());
            let data = self.modality(&name, modality)?;
            let [examples, elements] = modality.extents(&data);
            self.expect_extent(&name, 0, examples, *batch.get_or_insert(examples))?;
            let padding = self.padding(&name, [examples, elements])?;
            Ok(ModalityInput::new(data).padding(padding))
        });
        Ok(AnyDataInput::new(modalities.collect::<Result<_, Error>>()?))
    }

    fn modality(&mut self, name: &str, modality: &ModalityConfig) -> Result<ModalityData, Error> {
        Ok(match modality {
            ModalityConfig::Series(series) => {
                let values: Tensor<3> = self.floats(&[name], "[batch, steps, channels]")?;
                self.expect_extent(name, 2, values.dims()[2], series.channels.count())?;
                if series.position.is_trainable() && values.dims()[1] > series.max_length {
                    let (found, most) = (values.dims()[1], series.max_length);
                    let message = format!("has {found} steps, expected at most {most}");
                    return Err(Error::input(name, message));
                }
                ModalityData::Series(values)
            }
            ModalityConfig::Table(table) => self.row(name, table)?,
            ModalityConfig::Points(points) => {
                let places = format!("{name}.coordinates");
                let coordinates: Tensor<3> =
                    self.floats(&[places.as_str()], "[batch, points, dimensions]")?;
                let [batch, count, dimensions] = coordinates.dims();
                self.expect_extent(&places, 2, dimensions, points.centre.len())?;
                let numbers = coordinates.to_data();
                if numbers.iter::<f32>().any(|number| !number.is_finite()) {
                    return Err(Error::input(places, "holds a number that is not finite"));
                }
                let features = match points.channels.count() {
                    0 => None,
                    expected => {
                        let values: Tensor<3> =
                            self.floats(&[name], "[batch, points, features]")?;
                        for (axis, expected) in [batch, count, expected].into_iter().enumerate() {
                            self.expect_extent(name, axis, values.dims()[axis], expected)?;
                        }
                        Some(values)
                    }
                };
                ModalityData::Points { coordinates, features }
            }
            ModalityConfig::Grid(grid) => {
                let values: Tensor<3> = self.floats(&[name], "[batch, cells, channels]")?;
                self.expect_extent(name, 1, values.dims()[1], grid.shape.iter().product())?;
                self.expect_extent(name, 2, values.dims()[2], grid.channels.count())?;
                ModalityData::Grid(values)
            }
            ModalityConfig::Tokens(tokens) => {
                let (_, data) = self.take(&[name])?;
                expect_rank(name, &data, 2, "[batch, tokens]")?;
                let length = data.shape()[1];
                if tokens.position.is_trainable() && length > tokens.max_length {
                    let most = tokens.max_length;
                    let message = format!("has {length} tokens, expected at most {most}");
                    return Err(Error::input(name, message));
                }
                ModalityData::Tokens(self.bounded(name, &data, |_| tokens.vocabulary)?)
            }
        })
    }

    fn row(&mut self, name: &str, table: &TableConfig) -> Result<ModalityData, Error> {
        let columns = &table.columns;
        let numbers: Tensor<2> = self.floats(&[name], "[batch, columns]")?;
        let [batch, found] = numbers.dims();
        self.expect_extent(name, 1, found, columns.len())?;
        if columns.iter().all(|column| column.categories.is_none()) {
            let categories = Tensor::zeros([batch, found], self.device);
            return Ok(ModalityData::Table { numbers, categories });
        }
        let categories = format!("{name}.categories");
        let (_, data) = self.take(&[categories.as_str()])?;
        expect_rank(&categories, &data, 2, "[batch, columns]")?;
        self.expect_extent(&categories, 0, data.shape()[0], batch)?;
        self.expect_extent(&categories, 1, data.shape()[1], found)?;
        let entries = |place: usize| {
            columns[place % found].categories.as_ref().map_or(usize::MAX, |names| names.len() + 2)
        };
        let categories = self.bounded(&categories, &data, entries)?;
        Ok(ModalityData::Table { numbers, categories })
    }

    /// Ids below a limit that may depend on their place.
    fn bounded(
        &self,
        name: &str,
        data: &TensorData,
        limit: impl Fn(usize) -> usize,
    ) -> Result<Tensor<2, Int>, Error> {
        let ids = integers(name, data)?;
        for (place, id) in ids.iter().enumerate() {
            if outside(&[*id], limit(place)).is_some() {
                let message = format!("holds {id}, expected 0 to {}", limit(place) - 1);
                return Err(Error::input(name, message));
            }
        }
        Ok(Tensor::from_data(TensorData::new(ids, data.shape().clone()), self.device))
    }

    fn padding(
        &mut self,
        name: &str,
        [batch, elements]: [usize; 2],
    ) -> Result<Option<Tensor<2, burn::tensor::Bool>>, Error> {
        let Some((name, data)) = self.take_if_given(&format!("{name}.padding")) else {
            return Ok(None);
        };
        expect_rank(&name, &data, 2, "[batch, elements]")?;
        self.expect_extent(&name, 0, data.shape()[0], batch)?;
        self.expect_extent(&name, 1, data.shape()[1], elements)?;
        let padded: Vec<bool> = data.iter::<f64>().map(|padded| padded != 0.0).collect();
        if let Some(row) = padded.chunks(elements).position(|row| row.iter().all(|&hidden| hidden))
        {
            return Err(Error::input(name, format!("hides every element of example {row}")));
        }
        Ok(Some(Tensor::from_data(TensorData::new(padded, [batch, elements]), self.device)))
    }
}
