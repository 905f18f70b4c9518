package soak

import (
	"fmt"
	"image/color"
	"io"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Panel is a diagram of some columns over time.
type Panel struct {
	Title   string
	Columns []string
}

const (
	panelWidth  = 22 * vg.Centimeter
	panelHeight = 6 * vg.Centimeter
)

// lineColors are told apart by everybody, and in grey too (Okabe and Ito).
var lineColors = []color.Color{
	color.RGBA{R: 0x00, G: 0x72, B: 0xb2, A: 0xff},
	color.RGBA{R: 0xd5, G: 0x5e, B: 0x00, A: 0xff},
	color.RGBA{R: 0x00, G: 0x9e, B: 0x73, A: 0xff},
	color.RGBA{R: 0x00, G: 0x00, B: 0x00, A: 0xff},
}

// WriteSVG draws the panels, one below the other.
func (s *Series) WriteSVG(w io.Writer, panels []Panel) error {
	plots := make([][]*plot.Plot, len(panels))
	for i, panel := range panels {
		p, err := s.plot(panel)
		if err != nil {
			return fmt.Errorf("draw %q: %w", panel.Title, err)
		}
		plots[i] = []*plot.Plot{p}
	}
	plots[len(plots)-1][0].X.Label.Text = "minutes"
	canvas := vgsvg.New(panelWidth, panelHeight*vg.Length(len(panels)))
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

func (s *Series) plot(panel Panel) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = panel.Title
	p.Y.Min, p.X.Min = 0, 0
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(plotter.NewGrid())
	for i, column := range panel.Columns {
		points := make(plotter.XYs, len(s.Samples))
		for k, value := range s.Values(column) {
			points[k] = plotter.XY{X: s.Samples[k].At.Minutes(), Y: value}
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return nil, err
		}
		line.Color, line.Width = lineColors[i%len(lineColors)], vg.Points(1.2)
		p.Add(line)
		p.Legend.Add(column, line)
	}
	p.Y.Max = max(1, p.Y.Max*1.4) // room for the legend
	p.Y.Tick.Marker = plot.TickerFunc(wholeTicks)
	return p, nil
}

// wholeTicks are the usual ones, labelled without decimals.
func wholeTicks(from, to float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(from, to)
	for i, tick := range ticks {
		if tick.Label != "" {
			ticks[i].Label = strconv.FormatFloat(tick.Value, 'f', 0, 64)
		}
	}
	return ticks
}
