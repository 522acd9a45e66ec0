package cli

import (
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// patience is how long a person waits without wanting to see a bar.
const patience = time.Second

// progress is a bar on a terminal, if the work takes longer than a person's patience. Elsewhere it is nothing.
type progress struct {
	due       <-chan time.Time // when to call show; nil: never
	timer     *time.Timer
	pool      *mpb.Progress
	bar       *mpb.Bar
	open      func() *mpb.Progress
	name      string
	done, all int
}

func (s *session) newProgress(name string) *progress {
	p := &progress{name: name}
	if file := s.terminal(); file != nil {
		p.timer = time.NewTimer(patience)
		p.due = p.timer.C
		p.open = func() *mpb.Progress { return mpb.New(mpb.WithOutput(file), mpb.WithWidth(64)) }
	}
	return p
}

// show makes the bar visible.
func (p *progress) show() {
	p.due = nil
	p.pool = p.open()
	p.bar = p.pool.AddBar(int64(p.all), mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(p.name+" "), decor.CountersNoUnit("%d of %d ")),
		mpb.AppendDecorators(decor.Elapsed(decor.ET_STYLE_GO)))
	p.bar.SetCurrent(int64(p.done))
}

func (p *progress) set(done, all int) {
	p.done, p.all = done, all
	if p.bar != nil {
		p.bar.SetCurrent(int64(done))
	}
}

// end removes the bar and waits for its goroutine.
func (p *progress) end(done, all int) {
	if p.timer != nil {
		p.timer.Stop()
	}
	if p.bar == nil {
		return
	}
	p.set(done, all)
	p.bar.Abort(true)
	p.pool.Wait()
}
