package chart

import (
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Panel is a diagram of some columns.
type Panel struct {
	Title   string
	Columns []string
}

// Picture says how a table is drawn.
type Picture struct {
	// XLabel stands below, and X is divided by XUnit (0 is 1): minutes for a table of seconds with 60.
	XLabel string
	XUnit  float64
	// XTicks are where the axis is labelled, in XUnits; nil for round numbers.
	XTicks []float64
	// Panels are drawn one below the other.
	Panels []Panel
}

const (
	panelWidth  = 22 * vg.Centimeter
	panelHeight = 6 * vg.Centimeter
	// fewRows are drawn as points too.
	fewRows = 20
)

// lineColors are told apart by everybody, and in grey too (Okabe and Ito).
var lineColors = []color.Color{
	color.RGBA{R: 0x00, G: 0x72, B: 0xb2, A: 0xff},
	color.RGBA{R: 0xd5, G: 0x5e, B: 0x00, A: 0xff},
	color.RGBA{R: 0x00, G: 0x9e, B: 0x73, A: 0xff},
	color.RGBA{R: 0x00, G: 0x00, B: 0x00, A: 0xff},
}

// Save writes the table and its picture into the folder, as NAME.csv and NAME.svg.
func (t *Table) Save(folder, name string, picture Picture) error {
	var errs []error
	for extension, write := range map[string]func(io.Writer) error{
		".csv": t.WriteCSV,
		".svg": func(w io.Writer) error { return t.WriteSVG(w, picture) },
	} {
		file, err := os.Create(filepath.Join(folder, name+extension))
		if err != nil {
			return err
		}
		errs = append(errs, write(file), file.Close())
	}
	return errors.Join(errs...)
}

// WriteSVG draws the picture.
func (t *Table) WriteSVG(w io.Writer, picture Picture) error {
	plots := make([][]*plot.Plot, len(picture.Panels))
	for i, panel := range picture.Panels {
		p, err := t.plot(picture, panel)
		if err != nil {
			return fmt.Errorf("draw %q: %w", panel.Title, err)
		}
		plots[i] = []*plot.Plot{p}
	}
	plots[len(plots)-1][0].X.Label.Text = picture.XLabel
	canvas := vgsvg.New(panelWidth, panelHeight*vg.Length(len(plots)))
	area := draw.New(canvas)
	area.SetColor(color.White) // or a dark page shows through
	area.Fill(area.Rectangle.Path())
	tiles := draw.Tiles{Rows: len(plots), Cols: 1, PadY: 4 * vg.Millimeter, PadRight: 4 * vg.Millimeter, PadLeft: 8 * vg.Millimeter, PadTop: 2 * vg.Millimeter}
	for i, row := range plot.Align(plots, tiles, area) {
		plots[i][0].Draw(row[0])
	}
	_, err := canvas.WriteTo(w)
	return err
}

func (t *Table) plot(picture Picture, panel Panel) (*plot.Plot, error) {
	unit := picture.XUnit
	if unit == 0 {
		unit = 1
	}
	p := plot.New()
	p.Title.Text = panel.Title
	p.Y.Min, p.X.Min = 0, 0
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(plotter.NewGrid())
	for i, column := range panel.Columns {
		points := make(plotter.XYs, len(t.Rows))
		for k, value := range t.Values(column) {
			points[k] = plotter.XY{X: t.Rows[k].X / unit, Y: value}
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, err
		}
		line.Color, line.Width = lineColors[i%len(lineColors)], vg.Points(1.2)
		p.Add(line)
		if len(points) <= fewRows {
			dots.Shape, dots.Color = draw.CircleGlyph{}, line.Color
			p.Add(dots)
		}
		p.Legend.Add(column, line)
	}
	p.X.Tick.Marker = plot.TickerFunc(plainTicks)
	if len(picture.XTicks) > 0 {
		p.X.Tick.Marker = plot.ConstantTicks(labelled(picture.XTicks))
	}
	p.Y.Max = max(1, p.Y.Max*1.4) // room for the legend
	p.Y.Tick.Marker = plot.TickerFunc(plainTicks)
	return p, nil
}

func labelled(at []float64) []plot.Tick {
	ticks := make([]plot.Tick, len(at))
	for i, x := range at {
		ticks[i] = plot.Tick{Value: x, Label: strconv.FormatFloat(x, 'f', -1, 64)}
	}
	return ticks
}

// plainTicks are the usual ones, without an exponent and with as few decimals as will do.
func plainTicks(from, to float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(from, to)
	for i, tick := range ticks {
		if tick.Label != "" {
			ticks[i].Label = strconv.FormatFloat(math.Round(tick.Value*1e6)/1e6, 'f', -1, 64)
		}
	}
	return ticks
}
