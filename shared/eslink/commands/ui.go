package commands

import (
	"fmt"

	"github.com/spf13/cobra"

	"eslink/shared/eslink/page"
)

func (s *session) uiCommand() *cobra.Command {
	var readOnly bool
	var port int
	c := &cobra.Command{
		Use:   "ui",
		Short: "Serve a page that shows runs, and approves, cancels and removes them",
		Long:  "Serve the page on this machine alone, until interrupted. The address carries a\ntoken: who has it can do what you can.",
		Args:  exactly("", 0),
		RunE: func(c *cobra.Command, _ []string) error {
			f, err := s.connect()
			if err != nil {
				return err
			}
			l, err := page.Listen(port)
			if err != nil {
				return err
			}
			where := s.account + " in " + s.region
			if s.local {
				where = "local cloud"
			}
			p := &page.Page{Functions: f, Host: l.Addr().String(), Token: page.NewToken(), ReadOnly: readOnly, Where: where}
			fmt.Fprintf(s.out, "Open %s\nCtrl-C ends it.\n", p.Address())
			return p.Serve(c.Context(), l)
		},
	}
	c.Flags().BoolVar(&readOnly, "read-only", false, "show runs, change nothing")
	c.Flags().IntVar(&port, "port", 0, "port on 127.0.0.1; 0: any that is free")
	return c
}
